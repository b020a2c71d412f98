# VRRP is let through, between the two load balancers alone.
{ lib, ... }:
let
  inherit ((import ../nixos/pair.nix).deployment.services.fiscalismia-lb) highAvailability;
in
{
  nodes.loadbalancer.services.fiscalismia-lb = {
    inherit highAvailability;
  };
  nodes.second.services.fiscalismia-lb.highAvailability = highAvailability // {
    peers = [ "172.24.1.3" ];
    priority = 251;
  };
}
