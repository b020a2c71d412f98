# Lines of nftables out of options.
{ lib, privateNetworks }:

let
  addresses = import ./addresses.nix { inherit lib; };
  inherit (addresses) isIpv6;

  # What is no part of the internet: private, carriers' own, link-local and unique local addresses. Clouds answer for their hosts'
  # secrets there (169.254.169.254, 100.100.100.200, fd00:ec2::254).
  notInternet = [
    "10.0.0.0/8"
    "100.64.0.0/10"
    "169.254.0.0/16"
    "172.16.0.0/12"
    "192.168.0.0/16"
    "fc00::/7"
    "fe80::/10"
  ];

  families = [
    {
      header = "ip";
      isOfFamily = network: !isIpv6 network;
      echo = "icmp type echo-request";
    }
    {
      header = "ip6";
      isOfFamily = isIpv6;
      echo = "icmpv6 type echo-request";
    }
  ];

  set = elements: "{ ${lib.concatMapStringsSep ", " toString (lib.unique elements)} }";
in
rec {
  inherit set;

  interfaceSet = names: set (map (name: "\"${name}\"") names);

  # A line for each family that has any of the networks.
  forFamilies =
    networks: line:
    lib.concatMapStrings (
      family:
      let
        own = addresses.widest (lib.filter family.isOfFamily networks);
      in
      lib.optionalString (own != [ ]) (line family own)
    ) families;

  # Rules for one passage; `side` is where the packet has the other end's address, saddr or daddr.
  passage =
    side:
    {
      networks,
      protocol,
      ports,
      ...
    }:
    lib.concatMapStrings (
      {
        header,
        isOfFamily,
        echo,
      }:
      let
        what = if protocol == "icmp" then echo else "${protocol} dport ${set ports}";
        line =
          networks: except:
          lib.optionalString (networks != [ ]) "${header} ${side} ${set networks} ${except}${what} accept\n";
        isAround = network: inner: network != inner && addresses.contains network inner;
        special = lib.filter isOfFamily (privateNetworks ++ notInternet);
        wide = lib.partition (network: lib.any (isAround network) special) (lib.filter isOfFamily networks);
        inside = addresses.widest (
          lib.filter (inner: lib.any (network: isAround network inner) wide.right) special
        );
      in
      line (addresses.widest wide.wrong) ""
      + line (addresses.widest wide.right) "${header} ${side} != ${set inside} "
    ) families;

  passages = side: lib.concatMapStrings (passage side);

  tcpFrom =
    networks: ports:
    lib.optionalString (ports != [ ]) (
      passage "saddr" {
        protocol = "tcp";
        inherit networks ports;
      }
    );

  indent =
    text:
    lib.concatMapStrings (line: lib.optionalString (line != "") "  ${line}\n") (
      lib.splitString "\n" text
    );
}
