{ lib, ... }:
{
  nodes.loadbalancer.services.fiscalismia-lb = (lib.importJSON ./health.json).configuration;
}
