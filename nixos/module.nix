# services.fiscalismia-lb: the load balancer, its sandbox, the host's firewall and routing tables, all out of the routes.
{
  imports = [
    ./options.nix
    ./firewall-options.nix
    ./configuration.nix
    ./assertions.nix
    ./warnings.nix
    ./service.nix
    ./sockets.nix
    ./firewall.nix
    ./network.nix
    ./kernel.nix
    ./high-availability.nix
  ];
}
