"""As much of the Exchange Management Shell as the doctor's proposals use, on the entries of an LdifForest: quoting as in
PowerShell, the noun must fit the object, and what a command does to the attributes is what Exchange would do."""
import re

TOKEN = re.compile(r"""\s*(?:(?P<separator>;)|(?P<name>-?[A-Za-z][\w-]*)|'(?P<text>(?:[^']|'')*)'"""
                   r"""|@\{(?P<key>Add|Remove)='(?P<value>(?:[^']|'')*)'\}|\$(?P<flag>true|false))""")
NOUNS = {"Mailbox": {"1", "4", "16", "32"}, "MailUser": {"128"}, "RemoteMailbox": {"2147483648"}, "MailContact": {"64"},
         "DistributionGroup": {"256"}}


def commands(text):
    """[(verb, noun, {parameter: value})]; a value is a text, a bool, or ("Add" or "Remove", text)."""
    found, at = [], 0
    while at < len(text):
        token = TOKEN.match(text, at)
        assert token, f"not PowerShell at {text[at:]!r} in {text!r}"
        at = token.end()
        if token["separator"]:
            continue
        if token["name"] and not token["name"].startswith("-"):
            verb, noun = token["name"].split("-", 1)
            found.append((verb, noun, {}))
        elif token["name"]:
            parameter = token["name"][1:]
        elif token["key"]:
            found[-1][2][parameter] = (token["key"], token["value"].replace("''", "'"))
        else:
            found[-1][2][parameter] = (token["flag"] == "true" if token["flag"]
                                       else token["text"].replace("''", "'"))
    return found


def values(entry, name):
    has = entry.get(name, [])
    return has if isinstance(has, list) else [has]


def run(text, forest):
    for verb, noun, parameters in commands(text):
        dn = parameters.pop("Identity")
        entry = forest.entries[dn]
        if (verb, noun) != ("Enable", "MailUser"):
            assert values(entry, "msExchRecipientTypeDetails")[0] in NOUNS[noun], f"{text}: {entry}"
        if verb == "Remove":
            del forest.entries[dn]
        elif verb == "Disable":
            for name in ("homeMDB", "msExchRecipientTypeDetails", "targetAddress", "legacyExchangeDN"):
                entry.pop(name, None)
        else:
            assert verb in ("Set", "Enable"), text
            for name, value in parameters.items():
                set_parameter(entry, noun, name, value)
            if verb == "Enable":
                entry["msExchRecipientTypeDetails"] = "128"
    forest.write()


def set_parameter(entry, noun, name, value):
    if name == "EmailAddresses":
        change, address = value
        has = [v for v in values(entry, "proxyAddresses") if v.lower() != address.lower()]
        assert change == "Add" or len(has) < len(values(entry, "proxyAddresses")), f"{address} is not there"
        entry["proxyAddresses"] = has + ([address] if change == "Add" else [])
    elif (noun, name) in (("MailUser", "ExternalEmailAddress"), ("MailContact", "ExternalEmailAddress"),
                          ("RemoteMailbox", "RemoteRoutingAddress")):
        entry["targetAddress"] = value
    elif (noun, name) == ("DistributionGroup", "RequireSenderAuthenticationEnabled"):
        entry["msExchRequireAuthToSendTo"] = str(value).upper()
    else:
        raise AssertionError(f"Set-{noun} has no -{name}")
