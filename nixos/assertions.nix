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
          }; keep it in one of them."
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
        "${option}.routes.${name} has neither sni nor listen, so that no client would come to it; add host names to sni, or addresses to listen."
      ++
        refuseIf (settings.listen == [ ] && cfg.settings.listen == [ ])
          "${option}.routes.${name}: ${option}.settings.listen is empty, and this route has no listen of its own; add an address to either."
      ++
        refuseIf (settings.http != null && !cfg.redirect.enable)
          "${option}.routes.${name}.http needs the redirect, which takes plain HTTP requests; set ${option}.redirect.enable = true."
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
      "${path}: ${server.address} is behind none of the private interfaces (${privateNames}), so that the sandbox would keep the service from it; correct the address, or add its network to ${option}.privateInterfaces.<interface>.networks. For a server on the internet the interface is ${cfg.publicInterface}."
    ++
      refuseIf (server.interface != null && !cfg.privateInterfaces ? ${server.interface})
        "${path}: ${server.address} has the interface ${toString server.interface}, which is not one of the private interfaces (${privateNames}); add it to ${option}.privateInterfaces.";

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
        "${option}.admin.address: ${cfg.admin.address} is neither in a network of the private interfaces (${privateNames}) nor on loopback; use this host's own address in one of them, so that /stats and /metrics cannot be reached from the internet."
      ++
        refuseIf (!loopback && cfg.admin.allowFrom == [ ])
          "${option}.admin.allowFrom is empty, so that no client could connect to ${cfg.admin.address}; add the address of a client, such as the monitoring host, or set ${option}.admin.address = null."
      ++ lib.mapAttrsToList (
        name: interface:
        refuse "${option}.admin.address: ${cfg.admin.address} is not an address of this host, which has ${interface.address} on ${name}; use that address."
      ) others
    );

  privateAddresses = lib.filter (address: address != null) (
    map (interface: interface.address) (lib.attrValues cfg.privateInterfaces)
  );

  wrongListen = lib.concatMap (
    endpoint:
    refuseIf
      (!config.networking.enableIPv6 && addresses.isIpv6 (addresses.parseEndpoint endpoint).address)
      "${option}.settings.listen: ${endpoint} cannot be bound while networking.enableIPv6 is false; remove it."
  ) (cfg.settings.listen ++ lib.concatLists (lib.attrValues cfg.listeners));

  wrongGateway =
    let
      inherit (cfg.natGateway) interface;
    in
    lib.optionals (cfg.natGateway != null) (
      refuseIf (!cfg.privateInterfaces ? ${interface})
        "${option}.natGateway.interface: ${interface} is not one of the private interfaces (${privateNames}); use the interface that leads to the NAT gateway, or add this one to ${option}.privateInterfaces."
      ++
        refuseIf
          (cfg.privateInterfaces ? ${interface} && cfg.privateInterfaces.${interface}.address == null)
          "${option}.natGateway needs this host's address on ${interface}; set ${option}.privateInterfaces.${interface}.address and .gateway."
      ++
        refuseIf (cfg.publicAddresses == [ ])
          "${option}.natGateway needs the address to which clients connect, so that replies to them leave by ${cfg.publicInterface}; set ${option}.publicAddresses."
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
      "${option}.privateInterfaces: \"${name}\" is not the name of a network interface; use a name that `ip link` shows."
    ++
      refuseIf (address != null && gateway == null)
        "${path}: address needs a gateway; set gateway to the network's first address, which is its virtual gateway."
    ++
      refuseIf (address == null && gateway != null)
        "${path}: gateway needs an address; set address to this host's own in the network, or remove gateway and configure the interface yourself."
    ++ refuseIf (
      address == null && interface.mtu != null
    ) "${path}: mtu needs an address; set address, or set the MTU where the interface is configured."
    ++
      refuseIf (address != null && lib.length families > 1)
        "${path}: address, gateway and networks are not all of one family; remove address and gateway and configure the interface yourself.";

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
          "${option}.privateInterfaces: ${one.network} behind ${one.interface} and ${other.network} behind ${other.interface} have addresses in common; put each network behind one interface only."
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
        ) "${option}.publicGateways has ${toString count} ${family} gateways for publicAddresses; it needs one."
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
            "${option}.firewall.${list}: ${passage.protocol} with ${lib.concatStringsSep ", " passage.networks} has no ports; add some."
          ++
            refuseIf (passage.protocol == "icmp" && passage.ports != [ ])
              "${option}.firewall.${list}: icmp with ${lib.concatStringsSep ", " passage.networks} cannot have ports; remove them, or use tcp or udp."
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
          "${option}.settings.${key}: use ${option}.${instead} instead, for the firewall and the sockets need it too."
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
    refuseIf (cfg.routes == { }) "${option}.routes is empty, so that no client would be served; add a route."
    ++ wrongRoutes
    ++ sameName
    ++ wrongServers
    ++ wrongListen
    ++
      refuseIf (cfg.firewall.enable && !config.networking.nftables.enable)
        "${option}.firewall needs nftables; set networking.nftables.enable = true, or set ${option}.firewall.enable = false and configure a firewall yourself."
    ++ wrongAdmin
    ++
      refuseIf
        ((cfg.statsCredentials.usernameFile == null) != (cfg.statsCredentials.passwordFile == null))
        "${option}.statsCredentials has one file of two; set both usernameFile and passwordFile, or neither."
    ++ wrongGateway
    ++ wrongInterfaces
    ++ overlaps
    ++ wrongPublicGateways
    ++ wrongPassages
    ++ wrongSettings
  );
}
