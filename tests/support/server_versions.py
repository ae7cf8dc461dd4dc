"""What the server under test is too old for, so that a test can say what holds instead."""


def since(client, *version):
    """Whether the server has what came with that version of Redis; Valkey calls itself 7.2."""
    told = client.info("server")["redis_version"].split(".")
    return tuple(map(int, told[: len(version)])) >= version


def hides(client):
    """Whether the nodes of a cluster hide names in slots that are not theirs: from Redis 8.4 on."""
    return since(client, 8, 4)


def knows(client, command):
    """Whether the server has a command."""
    return command in client.execute_command("COMMAND")


def acl(client, *rules):
    """
    ACL rules as the server knows them.

    Before 7.0 a part of a command cannot be denied, so the whole is, and a new user has every
    channel until they are taken away; before 6.2 all users do.
    """
    if not since(client, 7, 0):
        rules = [rule.partition("|")[0] if rule.startswith("-") else rule for rule in rules]
        channels = [rule for rule in rules if rule.startswith("&")]
        rules = [rule for rule in rules if rule not in channels]
        if channels and since(client, 6, 2):
            rules += ["resetchannels", *channels]
    return rules


def without(client, *commands):
    """The options of a server that lacks these commands, be it that it never had them."""
    had = [command for command in commands if knows(client, command)]
    return [word for command in had for word in ("--rename-command", command, "")]
