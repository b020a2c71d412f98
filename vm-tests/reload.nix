{ lib, packages, ... }:
let
  scenario = lib.importJSON ./reload.json;
in
{
  nodes.loadbalancer =
    { pkgs, ... }:
    {
      services.fiscalismia-lb = scenario.configuration;
      specialisation =
        lib.mapAttrs
          (_: options: {
            configuration.services.fiscalismia-lb = options;
          })
          (
            lib.recursiveUpdate scenario.switches {
              other-socket.admin.address = lib.mkForce "172.24.1.3:8405";
              # The same program at another path: what an upgrade is to systemd.
              upgraded.package = pkgs.symlinkJoin {
                name = "fiscalismia-lb-upgraded";
                paths = [ packages.default ];
                inherit (packages.default) meta;
              };
            }
          );
    };
}
