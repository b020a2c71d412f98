# A route with plain TCP at an address of its own, one with names at another, and one that takes plain requests.
{ lib, ... }:
{
  nodes.loadbalancer.services.fiscalismia-lb = (lib.importJSON ./listeners.json).configuration;
}
