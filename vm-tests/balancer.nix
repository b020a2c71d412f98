# Both load balancers believe the balancer in front.
{ lib, ... }:
let
  inherit (lib.importJSON ./balancer.json) configuration;
in
{
  nodes.loadbalancer.services.fiscalismia-lb = configuration;
  nodes.second.services.fiscalismia-lb = configuration;
}
