# Both load balancers believe the balancer in front.
{ lib, ... }:
let
  inherit (lib.importJSON ./balancer.json) configuration;
in
{
  nodes.loadbalancer.services.fiscalismia-lb = configuration;
  nodes.second = {
    services.fiscalismia-lb = configuration;
    # Some hundred connections, none of which is tracked.
    virtualisation.memorySize = lib.mkForce 512;
  };
}
