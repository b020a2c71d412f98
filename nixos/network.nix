# Addresses and routing tables by systemd-networkd, as Hetzner's networks want them: every address stands alone, and every packet,
# to a neighbour in the same network too, goes through a gateway on the link.
{ config, lib, ... }:

let
  cfg = config.services.fiscalismia-lb;
  addresses = import ./addresses.nix { inherit lib; };
  inherit (addresses) alone isIpv6;

  publicIpv4 = lib.filter (address: !isIpv6 address) (
    lib.unique (
      cfg.publicAddresses ++ lib.optionals cfg.highAvailability.enable cfg.highAvailability.address
    )
  );
  # Beside a default route through the NAT gateway, replies to IPv4 clients have a table of their own.
  replyTable = 100;
  ownTable = gateway: cfg.natGateway != null && !isIpv6 gateway;

  common = {
    DHCP = "no";
    IPv6AcceptRA = false;
    LLMNR = false;
    MulticastDNS = false;
  };

  publicRoutes =
    map (
      gateway:
      {
        Gateway = gateway;
        GatewayOnLink = true;
      }
      // lib.optionalAttrs (ownTable gateway) { Table = replyTable; }
    ) usableGateways
    # Should the gateway go, replies have to be lost: the next table to be asked leads out through the NAT gateway.
    ++ lib.optional (cfg.natGateway != null) {
      Type = "unreachable";
      Destination = "0.0.0.0/0";
      Table = replyTable;
      Metric = 4294967295;
    };
  # Servers on the internet are reached by the public interface if they are said to be behind it.
  serverRoutes = lib.concatMap (
    gateway:
    map (network: {
      Destination = network;
      Gateway = gateway;
      GatewayOnLink = true;
    }) (lib.filter (network: ownTable gateway && !isIpv6 network) publicServers)
  ) usableGateways;
  publicServers = cfg.privateInterfaces.${cfg.publicInterface}.networks or [ ];
  usableGateways = lib.filter (
    gateway: lib.any (address: isIpv6 address == isIpv6 gateway) cfg.publicAddresses
  ) cfg.publicGateways;

  public = {
    matchConfig.Name = cfg.publicInterface;
    networkConfig = common;
    address = map alone cfg.publicAddresses;
    routes = publicRoutes ++ serverRoutes;
    # By the address and not by a mark: a reverse path filter looks a client's packet up the same way.
    routingPolicyRules = lib.optionals (cfg.natGateway != null) (
      map (address: {
        From = "${address}/32";
        Table = replyTable;
        Priority = 100;
      }) publicIpv4
    );
  };

  isPublic = name: name == cfg.publicInterface && cfg.publicAddresses != [ ];
  private = name: interface: {
    matchConfig.Name = name;
    networkConfig = common // lib.optionalAttrs (!isPublic name) { LinkLocalAddressing = "no"; };
    linkConfig = lib.optionalAttrs (interface.mtu != null) { MTUBytes = toString interface.mtu; };
    address = [ (alone interface.address) ];
    routes = [
      {
        Destination = alone interface.gateway;
        Scope = "link";
      }
    ]
    ++ map (network: {
      Destination = network;
      Gateway = interface.gateway;
      GatewayOnLink = true;
    }) interface.networks
    ++ lib.optional (cfg.natGateway != null && cfg.natGateway.interface == name) {
      Gateway = cfg.natGateway.address;
      GatewayOnLink = true;
    };
  };

  addressed = lib.filterAttrs (_: interface: interface.address != null) cfg.privateInterfaces;
  networks =
    lib.optional (cfg.publicAddresses != [ ]) { "20-fiscalismia-lb-public" = public; }
    ++ lib.mapAttrsToList (name: interface: {
      ${if isPublic name then "20-fiscalismia-lb-public" else "20-fiscalismia-lb-${name}"} =
        private name interface;
    }) addressed;
in
{
  config = lib.mkIf (cfg.enable && networks != [ ]) {
    networking.useNetworkd = lib.mkDefault true;
    systemd.network = {
      enable = true;
      networks = lib.mkMerge networks;
      # The service waits for every interface, and serves by those that are there when one has no carrier.
      wait-online.timeout = lib.mkDefault 10;
    };
  };
}
