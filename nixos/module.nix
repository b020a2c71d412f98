# services.fiscalismia-lb: the load balancer, its sandbox, the host's firewall and routing tables, all out of the routes.
{
  imports = [
    ./options.nix
    ./assertions.nix
    ./service.nix
    ./firewall.nix
    ./network.nix
  ];
}
