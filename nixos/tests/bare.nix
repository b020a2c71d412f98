# Evaluates the module without the rest of NixOS, which takes seconds a time: the options that it sets and asks for are here, and
# units are made into text by NixOS's own functions.
{ pkgs, package }:
configuration:

let
  inherit (pkgs) lib;
  inherit (lib) mkOption types;
  listOf =
    type:
    mkOption {
      type = types.listOf type;
      default = [ ];
    };
  off = mkOption {
    type = types.bool;
    default = false;
  };
  any = mkOption {
    type = types.attrsOf types.anything;
    default = { };
  };

  ports = types.submodule {
    freeformType = types.attrsOf types.anything;
    options = {
      allowedTCPPorts = listOf types.port;
      allowedUDPPorts = listOf types.port;
    };
  };

  host =
    { config, ... }:
    let
      utils = import (pkgs.path + "/nixos/lib/utils.nix") { inherit lib config pkgs; };
      systemd = utils.systemdUtils;
      units =
        type:
        mkOption {
          inherit type;
          default = { };
        };
      texts =
        toUnit: suffix:
        lib.mapAttrs' (name: unit: lib.nameValuePair "${name}.${suffix}" { inherit (toUnit unit) text; });
    in
    {
      # Whatever else a configuration of a test sets.
      freeformType = types.lazyAttrsOf types.anything;
      options = {
        assertions = listOf types.raw;
        warnings = listOf types.str;
        environment.systemPackages = listOf types.package;
        environment.etc = any;
        boot.kernel.sysctl = mkOption {
          type = types.attrsOf types.raw;
          default = { };
        };
        networking.enableIPv6 = off // {
          default = true;
        };
        networking.useNetworkd = off;
        networking.nftables.enable = off;
        networking.nftables.tables = any;
        networking.firewall.allowedTCPPorts = listOf types.port;
        networking.firewall.allowedUDPPorts = listOf types.port;
        networking.firewall.interfaces = mkOption {
          type = types.attrsOf ports;
          default = { };
        };
        networking.firewall.extraInputRules = mkOption {
          type = types.lines;
          default = "";
        };
        services.openssh.enable = off;
        services.openssh.ports = mkOption {
          type = types.listOf types.port;
          default = [ 22 ];
        };
        services.grafana.enable = off;
        services.grafana.provision = any;
        services.keepalived = any;
        services.nginx = any;
        services.prometheus = any;
        networking.nameservers = listOf types.str;
        users.users = any;
        users.groups = any;
        systemd.package = mkOption { default = pkgs.systemd; };
        systemd.globalEnvironment = any;
        systemd.enableStrictShellChecks = off;
        systemd.services = units systemd.types.services;
        systemd.sockets = units systemd.types.sockets;
        systemd.targets = any;
        systemd.units = units systemd.types.units;
        systemd.network.enable = off;
        systemd.network.networks = mkOption {
          type = types.attrsOf (
            types.submodule {
              freeformType = types.attrsOf types.anything;
              options.address = listOf types.str;
              options.routes = listOf types.anything;
            }
          );
          default = { };
        };
        systemd.network.wait-online = any;
      };
      config = {
        _module.args = { inherit pkgs utils; };
        services.fiscalismia-lb.package = lib.mkDefault package;
        systemd.units =
          texts systemd.lib.serviceToUnit "service" config.systemd.services
          // texts systemd.lib.socketToUnit "socket" config.systemd.sockets;
      };
    };
in
lib.evalModules {
  modules = [
    ../module.nix
    configuration
    host
  ];
}
