# What the options come to as the program's configuration file.
{ config, lib, ... }:

let
  cfg = config.services.fiscalismia-lb;
  addresses = import ./addresses.nix { inherit lib; };

  isSet = _: value: value != null && value != { } && value != [ ];
  prune =
    value: if lib.isAttrs value then lib.filterAttrs isSet (lib.mapAttrs (_: prune) value) else value;
  server =
    settings:
    let
      keys = prune settings;
    in
    if lib.attrNames keys == [ "address" ] then keys.address else keys;
  # The file wants a prefix length; an address alone is that host.
  cidr = network: if lib.hasInfix "/" network then network else addresses.alone network;
  route =
    settings:
    prune (
      settings
      // {
        servers = map server settings.servers;
        allow_from = map cidr settings.allow_from;
      }
    );
  onPort80 =
    listen:
    let
      inherit (addresses.parseEndpoint listen) address;
    in
    if addresses.isIpv6 address then "[${address}]:80" else "${address}:80";
in
{
  services.fiscalismia-lb.listeners = lib.filterAttrs (_: listen: listen != [ ]) (
    (lib.foldl'
      (
        { taken, found }:
        name:
        let
          listen = lib.subtractLists taken cfg.routes.${name}.listen;
        in
        {
          taken = taken ++ listen;
          found = found // {
            ${name} = listen;
          };
        }
      )
      {
        taken = cfg.settings.listen;
        found = { };
      }
      (lib.attrNames cfg.routes)
    ).found
  );
  services.fiscalismia-lb.configuration =
    (if cfg.settings.listen == [ ] then removeAttrs cfg.settings [ "listen" ] else cfg.settings)
    // {
      routes = lib.mapAttrs (_: route) cfg.routes;
    }
    // lib.optionalAttrs cfg.redirect.enable {
      redirect.listen =
        let
          all = lib.unique (
            map onPort80 (cfg.settings.listen ++ lib.concatLists (lib.attrValues cfg.listeners))
          );
          wildcardOf =
            endpoint:
            if addresses.isIpv6 (addresses.parseEndpoint endpoint).address then "[::]:80" else "0.0.0.0:80";
          # Beside the wildcard of its family an address would clash with it.
          others = lib.filter (endpoint: endpoint != wildcardOf endpoint) all;
          clashing = lib.filter (endpoint: lib.elem (wildcardOf endpoint) all) others;
        in
        lib.subtractLists clashing all;
    }
    // lib.optionalAttrs cfg.control.enable {
      control.socket = "/run/fiscalismia-lb/control.sock";
    }
    // lib.optionalAttrs (cfg.admin.address != null) {
      admin = {
        listen = [ cfg.admin.address ];
      }
      // lib.optionalAttrs (cfg.statsCredentials.usernameFile != null) {
        stats_credentials = {
          username_file = "/run/credentials/fiscalismia-lb.service/stats-username";
          password_file = "/run/credentials/fiscalismia-lb.service/stats-password";
        };
      };
    };
}
