# The whole host's firewall. A packet that any table drops is gone, whatever another one says: this one narrows, and what it lets
# in is opened in NixOS's own (nixos-fw) as well.
{ config, lib, ... }:

let
  cfg = config.services.fiscalismia-lb;
  addresses = import ./addresses.nix { inherit lib; };
  inherit (addresses) parseEndpoint isIpv6;

  privateInterfaces = lib.attrNames cfg.privateInterfaces;
  privateNetworks = lib.concatMap (interface: interface.networks) (
    lib.attrValues cfg.privateInterfaces
  );
  sshPorts = config.services.openssh.ports;
  publicPorts = map portOf (cfg.settings.listen ++ cfg.configuration.redirect.listen or [ ]);
  adminPorts = lib.optional (cfg.admin.address != null) (portOf cfg.admin.address);
  portOf = endpoint: (parseEndpoint endpoint).port;

  # Everything that the service connects to: each server on its port and on the one that probes go to.
  serverEndpoints = lib.unique (
    lib.concatMap (route: lib.concatMap (endpointsOf route) route.servers) (lib.attrValues cfg.routes)
  );
  endpointsOf =
    route: server:
    let
      inherit (parseEndpoint server.address) address port;
      probePort =
        if route.health_check.port != null then
          route.health_check.port
        else
          cfg.settings.health_check.port or port;
    in
    map
      (to: {
        interface = if server.interface != null then server.interface else interfaceTo address;
        inherit address;
        port = to;
      })
      (
        lib.unique [
          port
          probePort
        ]
      );
  interfaceTo =
    address:
    lib.findFirst (
      name: addresses.containsAny cfg.privateInterfaces.${name}.networks address
    ) "none" privateInterfaces;

  interfaceSet = names: set (map (name: "\"${name}\"") names);
  set = elements: "{ ${lib.concatMapStringsSep ", " toString (lib.unique elements)} }";

  namedSet =
    name: addressType: endpoints:
    ''
      set ${name} {
        typeof oifname . ${addressType} daddr . tcp dport
    ''
    + lib.optionalString (endpoints != [ ]) ''
      ${"  "}elements = { ${
        lib.concatMapStringsSep ", " (
          to: "\"${to.interface}\" . ${to.address} . ${toString to.port}"
        ) endpoints
      } }
    ''
    + "}\n";

  # Rules for one passage; `side` is where the packet has the other end's address, saddr or daddr.
  passageRules =
    side: passage:
    lib.concatMapStrings (rule side passage) [
      {
        header = "ip";
        networks = lib.filter (network: !isIpv6 network) passage.networks;
        echo = "icmp type echo-request";
      }
      {
        header = "ip6";
        networks = lib.filter isIpv6 passage.networks;
        echo = "icmpv6 type echo-request";
      }
    ];
  rule =
    side: passage:
    {
      header,
      networks,
      echo,
    }:
    let
      what =
        if passage.protocol == "icmp" then echo else "${passage.protocol} dport ${set passage.ports}";
      line =
        networks: except:
        lib.optionalString (networks != [ ]) "${header} ${side} ${set networks} ${except}${what} accept\n";
      # The internet, say, is everything but the private networks around this host.
      isAround = network: private: network != private && addresses.contains network private;
      wide = lib.partition (network: lib.any (isAround network) privateNetworks) networks;
      inside = lib.filter (
        private: lib.any (network: isAround network private) wide.right
      ) privateNetworks;
    in
    line wide.wrong "" + line wide.right "${header} ${side} != ${set inside} ";

  tcpFrom =
    networks: ports:
    lib.optionalString (ports != [ ]) (
      passageRules "saddr" {
        protocol = "tcp";
        inherit networks ports;
      }
    );

  # An interface that this module does not address may be leased by DHCP, which renews from the host's side.
  leased =
    lib.optional (cfg.publicAddresses == [ ]) cfg.publicInterface
    ++ lib.filter (name: cfg.privateInterfaces.${name}.address == null) privateInterfaces;
  onLeased =
    direction: rule:
    lib.optionalString (leased != [ ]) (indent "${direction} ${interfaceSet leased} ${rule}\n");

  indent =
    text:
    lib.concatMapStrings (line: lib.optionalString (line != "") "  ${line}\n") (
      lib.splitString "\n" text
    );
in
{
  config = lib.mkIf (cfg.enable && cfg.firewall.enable) {
    networking.nftables.enable = lib.mkDefault true;
    networking.firewall.interfaces = {
      ${cfg.publicInterface}.allowedTCPPorts = lib.unique publicPorts;
    }
    // lib.genAttrs privateInterfaces (_: {
      allowedTCPPorts = lib.unique (
        lib.optionals (cfg.firewall.sshFrom != [ ]) sshPorts
        ++ adminPorts
        ++ lib.concatMap (
          passage: lib.optionals (passage.protocol == "tcp") passage.ports
        ) cfg.firewall.allowedIngress
      );
      allowedUDPPorts = lib.unique (
        lib.concatMap (
          passage: lib.optionals (passage.protocol == "udp") passage.ports
        ) cfg.firewall.allowedIngress
      );
    });

    # The messages of ICMPv6 that are let through on every interface are those without which IPv6 finds no neighbour, and gets none
    # of its packets from a switch that minds multicast: RFC 4890 section 4.4.1.
    networking.nftables.tables.fiscalismia-lb = {
      family = "inet";
      content = ''
        ${namedSet "servers4" "ip" (lib.filter (to: !isIpv6 to.address) serverEndpoints)}
        ${namedSet "servers6" "ip6" (lib.filter (to: isIpv6 to.address) serverEndpoints)}
        chain input {
          type filter hook input priority filter - 10; policy drop;
          iifname "lo" accept
          ct state { established, related } accept
          icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-advert } ip6 hoplimit 255 accept
          icmpv6 type mld-listener-query ip6 saddr fe80::/10 ip6 hoplimit 1 accept
        ${onLeased "iifname" "ip6 saddr fe80::/10 udp sport 547 udp dport 546 accept"}  iifname "${cfg.publicInterface}" jump public-in
          iifname ${interfaceSet privateInterfaces} jump private-in
        }

        chain public-in {
          tcp dport ${set publicPorts} accept
          icmp type echo-request accept
          icmpv6 type echo-request accept
        }

        chain private-in {
        ${
          indent (
            tcpFrom cfg.firewall.sshFrom sshPorts
            + tcpFrom cfg.admin.allowFrom adminPorts
            + lib.concatMapStrings (passageRules "saddr") cfg.firewall.allowedIngress
          )
        }}

        chain output {
          type filter hook output priority filter - 10; policy drop;
          oifname "lo" accept
          icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-solicit } ip6 hoplimit 255 accept
          icmpv6 type { mld-listener-report, mld-listener-reduction, mld2-listener-report } ip6 hoplimit 1 accept
        ${
          onLeased "oifname" "udp sport 68 udp dport 67 accept"
          + onLeased "oifname" "udp sport 546 udp dport 547 accept"
        }  oifname "${cfg.publicInterface}" jump public-out
          oifname ${interfaceSet privateInterfaces} jump private-out
        }

        chain public-out {
          ct direction reply ct state { established, related } accept
        }

        chain private-out {
          ct state { established, related } accept
          oifname . ip daddr . tcp dport @servers4 accept
          oifname . ip6 daddr . tcp dport @servers6 accept
        ${indent (lib.concatMapStrings (passageRules "daddr") cfg.firewall.allowedEgress)}}

        chain forward {
          type filter hook forward priority filter - 10; policy drop;
        }
      '';
    };
  };
}
