/*
 * recipient_type.c - see recipient_type.h. Static text; any thread.
 */
#include "directory/recipient_type.h"

#include "base/assert.h"

/* By the number of the bit. */
static const char *const word_of[64] = {
    [0] = "UserMailbox",
    [1] = "LinkedMailbox",
    [2] = "SharedMailbox",
    [3] = "LegacyMailbox",
    [4] = "RoomMailbox",
    [5] = "EquipmentMailbox",
    [6] = "MailContact",
    [7] = "MailUser",
    [8] = "MailUniversalDistributionGroup",
    [9] = "MailNonUniversalGroup",
    [10] = "MailUniversalSecurityGroup",
    [11] = "DynamicDistributionGroup",
    [12] = "PublicFolder",
    [15] = "MailForestContact",
    [23] = "ArbitrationMailbox",
    [28] = "RoomList",
    [29] = "DiscoveryMailbox",
    [31] = "RemoteUserMailbox",
    [33] = "RemoteRoomMailbox",
    [34] = "RemoteEquipmentMailbox",
    [35] = "RemoteSharedMailbox",
    [37] = "TeamMailbox",
    [38] = "RemoteTeamMailbox",
    [40] = "GroupMailbox",
    [41] = "LinkedRoomMailbox",
    [45] = "GuestMailUser",
};

const char *recipient_type_text(uint8_t type)
{
    if (type == 0)
        return "";
    const char *word = type <= ARRAY_LEN(word_of) ? word_of[type - 1] : NULL;
    return word != NULL ? word : "other";
}

uint64_t recipient_type_value(struct str word)
{
    for (unsigned i = 0; i < ARRAY_LEN(word_of); i++)
        if (word_of[i] != NULL && str_eq_nocase(word, str_c(word_of[i])))
            return (uint64_t)1 << i;
    return 0;
}
