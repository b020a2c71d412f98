# The load balancer is a container here, on a host that has the same legs.
{ lib, packages, ... }:
let
  reference = lib.importJSON ../examples/fiscalismia.json;
  configuration = removeAttrs reference [ "limits" ] // {
    admin.listen = [ "127.0.0.1:8404" ];
  };
in
{
  nodes.loadbalancer = {
    services.fiscalismia-lb.enable = lib.mkForce false;
    virtualisation = {
      podman.enable = true;
      diskSize = 2048;
      memorySize = lib.mkForce 1024;
    };
    environment.etc = {
      "fiscalismia-lb/config.json".text = builtins.toJSON configuration;
      "image.tar.gz".source = packages.image;
    };
  };
}
