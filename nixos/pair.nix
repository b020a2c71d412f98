# Two hosts for one address: what they have in common, and what each has by itself. On a network of one's own, and at Hetzner, where
# both have the address for good and the cloud's API is asked to lead it to one of them.
let
  address = "203.0.113.50";
  gateway = "203.0.113.1";

  host =
    {
      own,
      peer,
      priority,
    }:
    {
      services.fiscalismia-lb = {
        enable = true;
        publicInterface = "enp1s0";
        privateInterfaces.enp8s0 = {
          networks = [ "172.24.0.0/23" ];
          address = own;
          gateway = "172.24.0.1";
        };
        routes.frontend = {
          sni = [ "fiscalismia.com" ];
          servers = [ "172.24.0.3:443" ];
        };
        admin = {
          address = "${own}:8404";
          allowFrom = [ "172.24.0.2" ];
        };
        highAvailability = {
          enable = true;
          interface = "enp8s0";
          inherit address priority;
          peers = [ peer ];
        };
      };
    };
  atHetzner = public: server: configuration: {
    imports = [ configuration ];
    services.fiscalismia-lb = {
      publicAddresses = [
        public
        address
      ];
      publicGateways = [ gateway ];
      highAvailability.hetzner = {
        floatingIp = 4711;
        inherit server;
        tokenFile = "/run/secrets/token";
        api = "http://${gateway}:8080/v1";
        egress = [ gateway ];
      };
    };
  };
in
rec {
  first = host {
    own = "172.24.1.3";
    peer = "172.24.1.6";
    priority = 251;
  };
  second = host {
    own = "172.24.1.6";
    peer = "172.24.1.3";
    priority = 250;
  };
  # A second host beside a whole deployment.
  deployment = {
    imports = [ ./fiscalismia.nix ];
    services.fiscalismia-lb.highAvailability = {
      enable = true;
      interface = "enp8s0";
      inherit address;
      peers = [ "172.24.1.6" ];
    };
  };
  cloud-first = atHetzner "203.0.113.10" 1 first;
  cloud-second = atHetzner "203.0.113.11" 2 second;
}
