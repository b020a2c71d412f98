# IP addresses, networks and endpoints as values: what the option types accept and the assertions compare.
{ lib }:

let
  inherit (lib)
    elemAt
    fromHexString
    genList
    length
    splitString
    toInt
    ;

  # An address as 16-bit groups, two for IPv4 and eight for IPv6; null for anything else.
  parseAddress = text: if lib.hasInfix ":" text then parseIpv6 text else parseIpv4 text;

  parseIpv4 =
    text:
    let
      octet = "(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])";
      octets = builtins.match "${octet}\\.${octet}\\.${octet}\\.${octet}" text;
      group = n: toInt (elemAt octets n) * 256 + toInt (elemAt octets (n + 1));
    in
    if octets == null then
      null
    else
      [
        (group 0)
        (group 2)
      ];

  parseIpv6 =
    text:
    let
      groups = map fromHexString (splitString ":" (lib.network.ipv6.fromString text).address);
      parsed = builtins.tryEval (builtins.deepSeq groups groups);
    in
    if builtins.match "[0-9a-fA-F:]+" text == null || !parsed.success then null else parsed.value;

  # "ADDRESS/LENGTH" with no bit set behind the prefix, or "ADDRESS" for that host alone; null for anything else.
  parseNetwork =
    text:
    let
      parts = builtins.match "([^/]+)(/(0|[1-9][0-9]{0,2}))?" text;
      groups = parseAddress (elemAt parts 0);
      bits = 16 * length groups;
      prefix = if elemAt parts 2 == null then bits else toInt (elemAt parts 2);
    in
    if parts == null || groups == null || prefix > bits || masked prefix groups != groups then
      null
    else
      { inherit groups prefix; };

  masked =
    prefix: groups:
    genList (
      n:
      let
        free = lib.max 0 (lib.min 16 (16 * (n + 1) - prefix));
        size = lib.foldl' (power: _: 2 * power) 1 (lib.range 1 free);
      in
      elemAt groups n / size * size
    ) (length groups);

  # "ADDRESS:PORT", IPv6 in brackets; null for anything else.
  parseEndpoint =
    text:
    let
      parts = builtins.match "(\\[([^]]+)]|([^]:[]+)):([1-9][0-9]{0,4})" text;
      ipv6 = elemAt parts 1;
      address = if ipv6 == null then elemAt parts 2 else ipv6;
      port = toInt (elemAt parts 3);
    in
    if
      parts == null || port > 65535 || parseAddress address == null || isIpv6 address != (ipv6 != null)
    then
      null
    else
      { inherit address port; };

  isIpv6 = lib.hasInfix ":";

  parseInterface = builtins.match "[a-zA-Z0-9._-]{1,15}";
  # nftables takes a `*` at the end for any ending.
  parseInterfaces = builtins.match "[a-zA-Z0-9._-]{1,15}|[a-zA-Z0-9._-]{1,14}\\*";

  # Whether all of `inner`, a network or an address, is in `outer`.
  contains =
    outer: inner:
    let
      wide = parseNetwork outer;
      narrow = parseNetwork inner;
    in
    length wide.groups == length narrow.groups
    && wide.prefix <= narrow.prefix
    && masked wide.prefix narrow.groups == wide.groups;

  # Without those that are part of another one, as the elements of an nftables set have to be.
  widest =
    networks:
    let
      all = lib.unique networks;
    in
    lib.filter (network: !lib.any (other: other != network && contains other network) all) all;

  checkedString =
    description: parse:
    lib.types.addCheck lib.types.str (text: parse text != null)
    // {
      inherit description;
      descriptionClass = "noun";
    };
in
{
  inherit
    contains
    isIpv6
    parseEndpoint
    parseInterface
    widest
    ;

  # An address as the network of that host alone.
  alone = address: if isIpv6 address then "${address}/128" else "${address}/32";
  containsAny = networks: address: lib.any (network: contains network address) networks;
  isLoopback = address: contains (if isIpv6 address then "::1" else "127.0.0.0/8") address;

  types = {
    address = checkedString "IP address" parseAddress;
    ipv4Address = checkedString "IPv4 address" parseIpv4;
    network = checkedString "network in CIDR notation without host bits, or an IP address" parseNetwork;
    endpoint = checkedString "IP address and port, such as 172.24.0.3:443 or [fd00::3]:443" parseEndpoint;
    interface = checkedString "name of a network interface" parseInterface;
    interfaces = checkedString "name of a network interface, or its beginning and *" parseInterfaces;
    port = lib.types.ints.between 1 65535;
    duration = lib.types.strMatching "[0-9]+(ms|s|m|h)" // {
      description = "duration, such as 500ms, 10s or 5m";
      descriptionClass = "noun";
    };
  };
}
