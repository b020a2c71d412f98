# What no single option's type can tell is wrong, each with what to do about it.
{ config, lib, ... }:

let
  addresses = import ./addresses.nix { inherit lib; };
  option = "services.fiscalismia-lb";
  cfg = config.services.fiscalismia-lb;
  privateNames = lib.concatStringsSep ", " (lib.attrNames cfg.privateInterfaces);
  privateNetworks = lib.concatMap (interface: interface.networks) (
    lib.attrValues cfg.privateInterfaces
  );
  isPrivate = addresses.containsAny privateNetworks;
  isOwn = address: addresses.isLoopback address || lib.elem address cfg.publicAddresses;

  refuse = message: {
    assertion = false;
    inherit message;
  };
  refuseIf = condition: message: lib.optional condition (refuse message);

  # One entry for each address, name and protocol that a route takes.
  names = lib.concatLists (
    lib.mapAttrsToList (
      route: settings:
      lib.mapCartesianProduct
        (
          {
            listen,
            sni,
            alpn,
          }:
          {
            inherit
              route
              listen
              sni
              alpn
              ;
          }
        )
        {
          # Without names it takes all that comes to its addresses.
          sni = if settings.sni == [ ] then [ "*" ] else map lib.toLower settings.sni;
          listen = if settings.listen == [ ] then [ null ] else settings.listen;
          alpn = if settings.alpn == [ ] then [ null ] else settings.alpn;
        }
    ) cfg.routes
  );
  sameName =
    lib.concatMap
      (
        entries:
        let
          first = lib.head entries;
          routes = lib.concatMapStringsSep " and " (entry: "\"${entry.route}\"") entries;
        in
        refuseIf (lib.length entries > 1)
          "${option}.routes: \"${first.sni}\" is routed by ${routes}${
            lib.optionalString (first.listen != null) " at ${first.listen}"
          }${
            lib.optionalString (first.alpn != null) " for the protocol \"${first.alpn}\""
          }; leave it in one of them."
      )
      (
        lib.attrValues (
          lib.groupBy (
            entry:
            builtins.toJSON [
              entry.listen
              entry.sni
              entry.alpn
            ]
          ) names
        )
      );

  wrongRoutes = lib.concatLists (
    lib.mapAttrsToList (
      name: settings:
      refuseIf (settings.sni == [ ] && settings.listen == [ ])
        "${option}.routes.${name} has neither sni nor listen, so that nothing would come to it; name hosts in sni, or addresses in listen."
      ++
        refuseIf (settings.listen == [ ] && cfg.settings.listen == [ ])
          "${option}.routes.${name}: ${option}.settings.listen is empty, and this route has no listen of its own; add one."
      ++
        refuseIf (settings.http != null && !cfg.redirect.enable)
          "${option}.routes.${name}.http takes plain requests off the redirect; set ${option}.redirect.enable = true."
    ) cfg.routes
  );

  wrongServers = lib.concatLists (
    lib.mapAttrsToList (
      route: settings: lib.concatMap (wrongServer "${option}.routes.${route}.servers") settings.servers
    ) cfg.routes
  );
  wrongServer =
    path: server:
    let
      inherit (addresses.parseEndpoint server.address) address;
    in
    refuseIf (!isPrivate address && !isOwn address)
      "${path}: ${server.address} is behind none of the private interfaces (${privateNames}), so the sandbox would cut the service off from it; correct the address, or add its network to ${option}.privateInterfaces.<interface>.networks, the interface being ${cfg.publicInterface} for a server on the internet."
    ++
      refuseIf (server.interface != null && !cfg.privateInterfaces ? ${server.interface})
        "${path}: ${server.address} is to be reached through ${toString server.interface}, which is not one of the private interfaces (${privateNames}); add it to ${option}.privateInterfaces.";

  wrongAdmin =
    let
      inherit (addresses.parseEndpoint cfg.admin.address) address;
      loopback = addresses.isLoopback address;
      others = lib.filterAttrs (
        _: interface:
        interface.address != null
        && addresses.containsAny interface.networks address
        && !addresses.contains interface.address address
      ) cfg.privateInterfaces;
    in
    lib.optionals (cfg.admin.address != null) (
      refuseIf (!loopback && !isPrivate address && !lib.elem address privateAddresses)
        "${option}.admin.address: ${cfg.admin.address} is neither in a network of the private interfaces (${privateNames}) nor on loopback; take this host's own address in one of them, so that the internet cannot reach /stats and /metrics."
      ++
        refuseIf (!loopback && cfg.admin.allowFrom == [ ])
          "${option}.admin.allowFrom is empty, so nobody could reach ${cfg.admin.address}; name who may, such as the address of the monitoring host, or set ${option}.admin.address = null."
      ++ lib.mapAttrsToList (
        name: interface:
        refuse "${option}.admin.address: ${cfg.admin.address} is not on this host, which is ${interface.address} behind ${name}; take that address."
      ) others
    );

  privateAddresses = lib.filter (address: address != null) (
    map (interface: interface.address) (lib.attrValues cfg.privateInterfaces)
  );

  wrongListen = lib.concatMap (
    endpoint:
    refuseIf
      (!config.networking.enableIPv6 && addresses.isIpv6 (addresses.parseEndpoint endpoint).address)
      "${option}.settings.listen: ${endpoint} cannot be bound while networking.enableIPv6 is false; leave it out."
  ) (cfg.settings.listen ++ lib.concatLists (lib.attrValues cfg.listeners));

  wrongGateway =
    let
      inherit (cfg.natGateway) interface;
    in
    lib.optionals (cfg.natGateway != null) (
      refuseIf (!cfg.privateInterfaces ? ${interface})
        "${option}.natGateway.interface: ${interface} is not one of the private interfaces (${privateNames}); name the one that leads to the NAT gateway, or add it to ${option}.privateInterfaces."
      ++
        refuseIf
          (cfg.privateInterfaces ? ${interface} && cfg.privateInterfaces.${interface}.address == null)
          "${option}.natGateway needs to know this host's address behind ${interface}; set ${option}.privateInterfaces.${interface}.address and .gateway."
      ++
        refuseIf (cfg.publicAddresses == [ ])
          "${option}.natGateway needs to know which address clients use, to keep replies to them on ${cfg.publicInterface}; set ${option}.publicAddresses."
    );

  wrongInterfaces = lib.concatLists (lib.mapAttrsToList wrongInterface cfg.privateInterfaces);
  wrongInterface =
    name: interface:
    let
      inherit (interface) address gateway networks;
      path = "${option}.privateInterfaces.${name}";
      families = lib.unique (
        map addresses.isIpv6 (
          lib.optional (address != null) address ++ networks ++ lib.optional (gateway != null) gateway
        )
      );
    in
    refuseIf (addresses.parseInterface name == null)
      "${option}.privateInterfaces: \"${name}\" is no name of a network interface; take it from `ip link`."
    ++
      refuseIf (address != null && gateway == null)
        "${path}: an address alone does not lead anywhere; set gateway to the network's first address, its virtual gateway."
    ++
      refuseIf (address == null && gateway != null)
        "${path}: a gateway alone configures nothing; set address to this host's own in the network, or leave gateway out and configure the interface yourself."
    ++ refuseIf (
      address == null && interface.mtu != null
    ) "${path}: mtu configures nothing without address; set it where this interface is configured."
    ++
      refuseIf (address != null && lib.length families > 1)
        "${path}: address, gateway and networks are not all of one family; leave address and gateway out and configure the interface yourself.";

  # Which way a server is has to follow from its address.
  overlaps = lib.concatLists (
    lib.imap0 (
      index: one:
      lib.concatMap (
        other:
        refuseIf
          (
            one.interface != other.interface
            && (addresses.contains one.network other.network || addresses.contains other.network one.network)
          )
          "${option}.privateInterfaces: ${one.network} behind ${one.interface} and ${other.network} behind ${other.interface} have addresses in common; leave each behind one interface."
      ) (lib.drop (index + 1) networksByInterface)
    ) networksByInterface
  );
  networksByInterface = lib.concatLists (
    lib.mapAttrsToList (
      interface: settings: map (network: { inherit interface network; }) settings.networks
    ) cfg.privateInterfaces
  );

  wrongPublicGateways =
    lib.concatMap
      (
        { family, isOfFamily }:
        let
          count = lib.count isOfFamily cfg.publicGateways;
        in
        refuseIf (
          lib.any isOfFamily cfg.publicAddresses && count != 1
        ) "${option}.publicGateways has ${toString count} ${family} gateways for publicAddresses; name one."
      )
      [
        {
          family = "IPv4";
          isOfFamily = address: !addresses.isIpv6 address;
        }
        {
          family = "IPv6";
          isOfFamily = addresses.isIpv6;
        }
      ];

  wrongPassages =
    lib.concatMap
      (
        list:
        lib.concatMap (
          passage:
          refuseIf (passage.protocol != "icmp" && passage.ports == [ ])
            "${option}.firewall.${list}: ${passage.protocol} with ${lib.concatStringsSep ", " passage.networks} names no ports; add the ports that are meant."
          ++
            refuseIf (passage.protocol == "icmp" && passage.ports != [ ])
              "${option}.firewall.${list}: icmp with ${lib.concatStringsSep ", " passage.networks} has no ports; remove them, or say tcp or udp."
        ) cfg.firewall.${list}
      )
      [
        "allowedIngress"
        "allowedEgress"
        "publicIngress"
        "publicEgress"
      ];

  wrongSettings =
    lib.concatMap
      (
        { key, instead }:
        refuseIf (cfg.settings ? ${key})
          "${option}.settings.${key}: use ${option}.${instead}, from which the firewall and the sockets are made too."
      )
      [
        {
          key = "routes";
          instead = "routes";
        }
        {
          key = "redirect";
          instead = "redirect.enable";
        }
        {
          key = "control";
          instead = "control.enable";
        }
        {
          key = "admin";
          instead = "admin and ${option}.statsCredentials";
        }
      ];
in
{
  assertions = lib.mkIf cfg.enable (
    refuseIf (cfg.routes == { }) "${option}.routes is empty, so no client would be served; add a route."
    ++ wrongRoutes
    ++ sameName
    ++ wrongServers
    ++ wrongListen
    ++
      refuseIf (cfg.firewall.enable && !config.networking.nftables.enable)
        "${option}.firewall needs nftables; set networking.nftables.enable = true, or set ${option}.firewall.enable = false and close the host yourself."
    ++ wrongAdmin
    ++
      refuseIf
        ((cfg.statsCredentials.usernameFile == null) != (cfg.statsCredentials.passwordFile == null))
        "${option}.statsCredentials: one file alone lets nobody in; set both usernameFile and passwordFile, or neither."
    ++ wrongGateway
    ++ wrongInterfaces
    ++ overlaps
    ++ wrongPublicGateways
    ++ wrongPassages
    ++ wrongSettings
  );
}
