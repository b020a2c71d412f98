# services.fiscalismia-lb.server, for a host with a server behind load balancers: nginx takes the client's address from the PROXY
# header, from the load balancers only.
{ config, lib, ... }:

let
  inherit (lib) mkOption types;
  addresses = import ./addresses.nix { inherit lib; };
  inherit (addresses) isIpv6;
  cfg = config.services.fiscalismia-lb.server;

  families = [
    {
      header = "ip";
      own = lib.filter (address: !isIpv6 address) cfg.loadBalancers;
    }
    {
      header = "ip6";
      own = lib.filter isIpv6 cfg.loadBalancers;
    }
  ];
  listens = lib.concatMap (
    address:
    map (port: {
      addr = address;
      inherit port;
      ssl = true;
      proxyProtocol = true;
    }) cfg.ports
  );
in
{
  options.services.fiscalismia-lb.server = {
    enable = lib.mkEnableOption "what a server behind fiscalismia-lb needs: nginx expects the PROXY header and takes the client's address from it";
    loadBalancers = mkOption {
      type = types.nonEmptyListOf addresses.types.network;
      example = [
        "172.24.1.3"
        "172.24.1.6"
      ];
      description = ''
        Addresses of every load balancer in this host's network. nginx believes the PROXY header of these addresses only, because a
        client that may send one can claim every address.
      '';
    };
    ports = mkOption {
      type = types.nonEmptyListOf addresses.types.port;
      default = [ 443 ];
      example = [ 8443 ];
      description = "Ports on which the load balancers connect to nginx. Every connection to them has to begin with a PROXY header.";
    };
    listen = mkOption {
      type = types.nonEmptyListOf types.str;
      default = [ "0.0.0.0" ] ++ lib.optional config.networking.enableIPv6 "[::]";
      defaultText = lib.literalExpression ''[ "0.0.0.0" ] ++ lib.optional config.networking.enableIPv6 "[::]"'';
      example = [ "172.24.0.3" ];
      description = ''
        Addresses of this host on which nginx listens, each on every port of {option}`services.fiscalismia-lb.server.ports`. They
        become {option}`services.nginx.defaultListen`, for virtual hosts that have no `listen` of their own. Add further addresses
        and ports of those hosts to that option.
      '';
    };
    openFirewall = mkOption {
      type = types.bool;
      default = true;
      example = false;
      description = ''
        Whether {option}`networking.firewall` lets the load balancers, and no other host, connect to
        {option}`services.fiscalismia-lb.server.ports`. This takes {option}`networking.nftables.enable`.
      '';
    };
  };

  config = lib.mkIf cfg.enable {
    services.nginx = {
      enable = true;
      defaultListen = listens cfg.listen;
      commonHttpConfig = ''
        ${lib.concatMapStringsSep "\n" (network: "set_real_ip_from ${network};") cfg.loadBalancers}
        real_ip_header proxy_protocol;
      '';
    };

    networking.nftables.enable = lib.mkIf cfg.openFirewall (lib.mkDefault true);
    networking.firewall.extraInputRules = lib.mkIf cfg.openFirewall (
      lib.concatMapStrings (
        { header, own }:
        lib.optionalString (own != [ ]) ''
          ${header} saddr { ${lib.concatStringsSep ", " own} } tcp dport { ${
            lib.concatMapStringsSep ", " toString cfg.ports
          } } accept
        ''
      ) families
    );

    assertions = [
      {
        assertion = !cfg.openFirewall || config.networking.nftables.enable;
        message = "services.fiscalismia-lb.server.openFirewall needs nftables; set networking.nftables.enable = true, or services.fiscalismia-lb.server.openFirewall = false and let the load balancers in yourself.";
      }
    ];
  };
}
