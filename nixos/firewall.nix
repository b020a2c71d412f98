# The whole host's firewall. A packet that any table drops is gone, whatever another one says: this one narrows, and what it lets
# in is opened in NixOS's own (nixos-fw) as well.
#
# Connections of clients and to servers are not tracked: the kernel keeps a closed one for two minutes, and a table of 65,536 holds
# no more than 270 new connections a second. Without tracking, a reply is what comes from the port and does not open a connection.
{ config, lib, ... }:

let
  cfg = config.services.fiscalismia-lb;
  addresses = import ./addresses.nix { inherit lib; };
  inherit (addresses) parseEndpoint isIpv6;

  privateInterfaces = lib.attrNames cfg.privateInterfaces;
  privateNetworks = lib.concatMap (interface: interface.networks) (
    lib.attrValues cfg.privateInterfaces
  );
  rules = import ./rules.nix { inherit lib privateNetworks; };
  inherit (rules) indent interfaceSet set;
  interfaces = lib.unique ([ cfg.publicInterface ] ++ privateInterfaces);

  sshPorts = config.services.openssh.ports;
  publicPorts = lib.unique (map portOf (import ./public.nix { inherit lib cfg; }));
  adminPorts = lib.optional (cfg.admin.address != null) (portOf cfg.admin.address);
  portOf = endpoint: (parseEndpoint endpoint).port;

  # Everything that the service connects to beyond this host: each server on its port, on the one that probes go to, and on that for
  # plain HTTP.
  serverEndpoints = lib.filter (to: to.interface != null) (
    lib.unique (
      lib.concatMap (route: lib.concatMap (endpointsOf route) route.servers) (lib.attrValues cfg.routes)
    )
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
        lib.unique (
          [
            port
            probePort
          ]
          ++ lib.optional (route.http != null) route.http.port
        )
      );
  interfaceTo =
    address:
    lib.findFirst (
      name: addresses.containsAny cfg.privateInterfaces.${name}.networks address
    ) null privateInterfaces;

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

  # An interface that this module does not address may be leased by DHCP, which renews from the host's side.
  leased = lib.filter (
    name:
    (name != cfg.publicInterface || cfg.publicAddresses == [ ])
    && (cfg.privateInterfaces.${name}.address or null) == null
    && name != "lo"
  ) interfaces;
  onLeased =
    direction: rule:
    lib.optionalString (leased != [ ]) (indent "${direction} ${interfaceSet leased} ${rule}\n");

  # A host with its servers on itself may have no private interface.
  toPrivate =
    direction: chain:
    lib.optionalString (privateInterfaces != [ ]) (
      indent "${direction} ${interfaceSet privateInterfaces} jump ${chain}\n"
    );

  # Reverse NAT finds its connections by tracking alone.
  trackServers = cfg.firewall.forward != [ ];
  onServers =
    side: port: rule:
    indent ''
      ${side}ifname . ip ${port}addr . tcp ${port}port @servers4 ${rule}
      ${side}ifname . ip6 ${port}addr . tcp ${port}port @servers6 ${rule}
    '';
  untracked = side: port: lib.optionalString (!trackServers) (onServers side port "notrack");

  # A server's address is valid behind its own interface only; behind another it is another host's.
  ownInterface = lib.concatStrings (
    lib.mapAttrsToList (
      name: interface:
      rules.forFamilies interface.networks (
        { header, ... }: networks: "iifname != \"${name}\" ${header} saddr ${set networks} drop\n"
      )
    ) cfg.privateInterfaces
  );

  # Bridges of containers and the like: ends of `forward` that are neither the public nor a private interface.
  hosted = lib.subtractLists interfaces (
    lib.unique (
      lib.concatMap (entry: [
        entry.from
        entry.to
      ]) cfg.firewall.forward
    )
  );
  onHosted = direction: lib.concatMapStrings (name: "${direction} \"${name}\" accept\n") hosted;
  forwardRules = lib.concatMapStrings (
    entry:
    let
      between = "iifname \"${entry.from}\" oifname \"${entry.to}\" ";
    in
    if entry.networks == [ ] then
      "${between}accept\n"
    else
      rules.forFamilies entry.networks (
        { header, ... }: networks: "${between}${header} daddr ${set networks} accept\n"
      )
  ) cfg.firewall.forward;

  portsOf =
    protocol: passages:
    lib.concatMap (passage: lib.optionals (passage.protocol == protocol) passage.ports) passages;
  # Types without which a path's smaller MTU or an end of it stays unknown: RFC 4890 section 4.3.1.
  errors4 = "icmp type { destination-unreachable, time-exceeded, parameter-problem }";
  errors6 = "icmpv6 type { destination-unreachable, packet-too-big, time-exceeded, parameter-problem }";
in
{
  config = lib.mkIf (cfg.enable && cfg.firewall.enable) {
    networking.nftables.enable = lib.mkDefault true;
    networking.firewall.interfaces = lib.mkMerge (
      [
        {
          ${cfg.publicInterface} = {
            allowedTCPPorts = publicPorts ++ portsOf "tcp" cfg.firewall.publicIngress;
            allowedUDPPorts = portsOf "udp" cfg.firewall.publicIngress;
          };
        }
      ]
      ++ map (name: {
        ${name} = {
          allowedTCPPorts = lib.unique (
            lib.optionals (cfg.firewall.sshFrom != [ ]) sshPorts
            ++ adminPorts
            ++ portsOf "tcp" cfg.firewall.allowedIngress
          );
          allowedUDPPorts = lib.unique (portsOf "udp" cfg.firewall.allowedIngress);
        };
      }) privateInterfaces
    );
    # What comes here untracked, the table below has judged already.
    networking.firewall.extraInputRules = ''
      iifname ${interfaceSet interfaces} ct state untracked meta l4proto { tcp, icmp } accept
    '';

    # The messages of ICMPv6 that are let through on every interface are those without which IPv6 finds no neighbour, and gets none
    # of its packets from a switch that minds multicast: RFC 4890 section 4.4.1.
    networking.nftables.tables.fiscalismia-lb = {
      family = "inet";
      content = ''
        ${namedSet "servers4" "ip" (lib.filter (to: !isIpv6 to.address) serverEndpoints)}
        ${namedSet "servers6" "ip6" (lib.filter (to: isIpv6 to.address) serverEndpoints)}
        chain untracked-in {
          type filter hook prerouting priority raw; policy accept;
          iifname "${cfg.publicInterface}" tcp dport ${set publicPorts} notrack
        ${untracked "i" "s"}}

        # Errors about a connection that is not tracked are invalid to tracking, and nixos-fw drops what is invalid.
        chain untracked-errors {
          type filter hook prerouting priority raw + 110; policy accept;
          iifname ${interfaceSet interfaces} ct state invalid ${errors4} notrack
          iifname ${interfaceSet interfaces} ct state invalid ${errors6} notrack
        }

        chain untracked-out {
          type filter hook output priority raw; policy accept;
          oifname "${cfg.publicInterface}" tcp sport ${set publicPorts} notrack
        ${untracked "o" "d"}}

        chain input {
          type filter hook input priority filter - 10; policy drop;
          iifname "lo" accept
          ct state { established, related } accept
          icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-advert } ip6 hoplimit 255 accept
          icmpv6 type mld-listener-query ip6 saddr fe80::/10 ip6 hoplimit 1 accept
          ${errors4} accept
          ${errors6} accept
        ${indent cfg.firewall.rules.input}${onLeased "iifname" "ip6 saddr fe80::/10 udp sport 547 udp dport 546 accept"}  iifname "${cfg.publicInterface}" jump public-in
        ${toPrivate "iifname" "private-in"}${indent (onHosted "iifname")}}

        chain public-in {
          tcp dport ${set publicPorts} accept
          icmp type echo-request accept
          icmpv6 type echo-request accept
        ${indent (rules.passages "saddr" cfg.firewall.publicIngress)}}

        chain private-in {
        ${indent ownInterface}${
          lib.optionalString (!trackServers) (onServers "i" "s" "tcp flags & (syn | ack) != syn accept")
        }${
          indent (
            rules.tcpFrom cfg.firewall.sshFrom sshPorts
            + rules.tcpFrom cfg.admin.allowFrom adminPorts
            + rules.passages "saddr" cfg.firewall.allowedIngress
          )
        }}

        chain output {
          type filter hook output priority filter - 10; policy drop;
          oifname "lo" accept
          icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-solicit } ip6 hoplimit 255 accept
          icmpv6 type { mld-listener-report, mld-listener-reduction, mld2-listener-report } ip6 hoplimit 1 accept
        ${
          indent cfg.firewall.rules.output
          + onLeased "oifname" "udp sport 68 udp dport 67 accept"
          + onLeased "oifname" "udp sport 546 udp dport 547 accept"
        }  oifname "${cfg.publicInterface}" jump public-out
        ${toPrivate "oifname" "private-out"}${indent (onHosted "oifname")}}

        chain public-out {
          tcp sport ${set publicPorts} tcp flags & (syn | ack) != syn accept
          ct direction reply ct state { established, related } accept
        ${indent (rules.passages "daddr" cfg.firewall.publicEgress)}}

        chain private-out {
          ct state { established, related } accept
        ${onServers "o" "d" "accept"}${indent (rules.passages "daddr" cfg.firewall.allowedEgress)}}

        chain forward {
          type filter hook forward priority filter - 10; policy drop;
        ${
          indent (
            lib.optionalString (forwardRules != "") "ct state { established, related } accept\n${forwardRules}"
          )
        }}
      '';
    };
  };
}
