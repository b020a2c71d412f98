# **This closes ssh** but for the networks in firewall.sshFrom and firewall.publicIngress: fill in both before you switch, and try
# with `nixos-rebuild test`, which a reboot undoes.
{
  services.fiscalismia-lb = {
    enable = true;
    # From `ip address`: where clients come in, and where the servers are. One interface for both is named twice.
    publicInterface = "enp1s0";
    privateInterfaces.enp7s0.networks = [ "10.0.0.0/24" ];

    routes = {
      web = {
        sni = [
          "example.com"
          "*.example.com"
        ];
        # They have to expect the PROXY header, which says who the client is: nixosModules.server, docs/servers.md.
        servers = [ "10.0.0.2:443" ];
      };
      # A service on this very host.
      mail = {
        sni = [ "mail.example.com" ];
        servers = [ "127.0.0.1:8443" ];
        proxy_protocol = "off";
      };
    };

    redirect.enable = true;

    firewall = {
      # Who may use ssh on the private interfaces.
      sshFrom = [ "10.0.0.0/24" ];
      # And on the public one, say your office.
      publicIngress = [
        {
          networks = [ "198.51.100.0/24" ];
          ports = [ 22 ];
        }
      ];
      # What this host itself asks the internet for: names, the time, updates.
      publicEgress = [
        {
          networks = [
            "0.0.0.0/0"
            "::/0"
          ];
          protocol = "udp";
          ports = [
            53
            123
          ];
        }
        {
          networks = [
            "0.0.0.0/0"
            "::/0"
          ];
          ports = [
            80
            443
          ];
        }
      ];
    };
  };

  services.openssh.enable = true;
  system.stateVersion = "26.05";
}
