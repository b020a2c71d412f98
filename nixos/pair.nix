# Two hosts for one address, on a network of one's own: what they have in common, and what each has by itself.
let
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
          address = "203.0.113.50";
          peers = [ peer ];
          inherit priority;
        };
      };
    };
in
{
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
}
