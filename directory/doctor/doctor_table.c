/*
 * doctor_table.c - the checks of doctor.def as data. Pure; causewayctl links this without the rest.
 */
#include "base/assert.h"
#include "directory/doctor/doctor.h"

const struct doctor_check_info doctor_check_info[DOCTOR_CHECKS] = {
#define CHECK(id_, name_, severity_, title_, explanation_, mend_)                                  \
    [DOCTOR_##id_] = {.name = (name_),                                                             \
                      .severity = DOCTOR_##severity_,                                              \
                      .title = (title_),                                                           \
                      .explanation = (explanation_),                                               \
                      .mend = (mend_)},
#include "directory/doctor/doctor.def"
#undef CHECK
};
STATIC_ASSERT(DOCTOR_CHECKS <= 64, "a set of checks is a bit mask");

int doctor_check_find(struct str name)
{
    for (int i = 0; i < DOCTOR_CHECKS; i++)
        if (str_eq(name, str_c(doctor_check_info[i].name)))
            return i;
    return -1;
}

const char *doctor_severity_text(enum doctor_severity s)
{
    static const char *const text[] = {
        [DOCTOR_FAULT] = "fault", [DOCTOR_WARNING] = "warning", [DOCTOR_NOTE] = "note"};
    return (unsigned)s < ARRAY_LEN(text) ? text[s] : "unknown";
}

const char *doctor_means_text(enum doctor_means m)
{
    static const char *const text[] = {[DOCTOR_BY_CAUSEWAYCTL] = "causewayctl",
                                       [DOCTOR_BY_LDIF] = "ldif",
                                       [DOCTOR_BY_EXCHANGE] = "exchange",
                                       [DOCTOR_BY_CONFIGURATION] = "configuration",
                                       [DOCTOR_BY_HAND] = "by hand"};
    return (unsigned)m < ARRAY_LEN(text) ? text[m] : "unknown";
}
