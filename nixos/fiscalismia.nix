# The load balancer of Fiscalismia, whole: a NixOS module to import beside nixosModules.default.
{
  services.fiscalismia-lb = {
    enable = true;

    publicInterface = "enp1s0";
    publicAddresses = [
      "203.0.113.10"
      "2001:db8:1::10"
    ];
    privateInterfaces = {
      # demo
      enp7s0 = {
        networks = [ "172.20.0.0/23" ];
        address = "172.20.1.3";
        gateway = "172.20.0.1";
      };
      # production
      enp8s0 = {
        networks = [ "172.24.0.0/23" ];
        address = "172.24.1.3";
        gateway = "172.24.0.1";
      };
    };
    natGateway = {
      interface = "enp8s0";
      address = "172.24.0.1";
    };

    routes = {
      frontend = {
        sni = [ "fiscalismia.com" ];
        servers = [ "172.24.0.3:443" ];
      };
      backend = {
        sni = [ "backend.fiscalismia.com" ];
        servers = [ "172.24.0.4:443" ];
      };
      demo = {
        sni = [ "demo.fiscalismia.com" ];
        servers = [ "172.20.0.2:443" ];
      };
      demo_backend = {
        sni = [ "backend.demo.fiscalismia.com" ];
        servers = [ "172.20.0.2:443" ];
      };
      monitoring = {
        sni = [ "monitoring.fiscalismia.com" ];
        servers = [ "172.24.0.2:443" ];
      };
    };

    redirect.enable = true;
    admin = {
      address = "172.24.1.3:8404";
      # Prometheus on the monitoring host.
      allowFrom = [ "172.24.0.2" ];
    };
    statsCredentials = {
      usernameFile = "/run/secrets/stats-username";
      passwordFile = "/run/secrets/stats-password";
    };

    settings = {
      limits.per_source = {
        rate = 50;
        period = "5s";
      };
      # How long open connections may take to end when the host goes down.
      timeouts.drain = "5s";
    };

    firewall = {
      # The bastion.
      sshFrom = [ "172.24.1.2" ];
      allowedEgress = [
        {
          networks = [
            "185.12.64.1"
            "185.12.64.2"
            "8.8.8.8"
          ];
          protocol = "udp";
          ports = [ 53 ];
        }
        {
          networks = [ "0.0.0.0/0" ];
          protocol = "udp";
          ports = [ 123 ];
        }
        # Updates, through the NAT gateway.
        {
          networks = [ "0.0.0.0/0" ];
          ports = [
            80
            443
          ];
        }
      ];
    };
  };

  services.openssh.enable = true;
}
