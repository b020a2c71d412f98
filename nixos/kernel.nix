# Kernel settings for a host that opens and closes many connections, and forwards packets only by its own table.
{ config, lib, ... }:

let
  cfg = config.services.fiscalismia-lb;
in
{
  config = lib.mkIf cfg.enable {
    # Weaker than mkDefault, by which a profile may say the same in another spelling.
    boot.kernel.sysctl = lib.mapAttrs (_: lib.mkOverride 1100) (
      {
        # The service opens the connections to servers, and so their ports stay in TIME_WAIT here. RFC 6191.
        "net.ipv4.tcp_tw_reuse" = 1;
        "net.ipv4.ip_local_port_range" = "10240 65535";
        # A neighbour could turn traffic to itself.
        "net.ipv4.conf.*.accept_redirects" = 0;
        "net.ipv4.conf.all.accept_redirects" = 0;
        "net.ipv4.conf.default.accept_redirects" = 0;
      }
      // lib.optionalAttrs config.networking.enableIPv6 {
        "net.ipv6.conf.*.accept_redirects" = 0;
        "net.ipv6.conf.all.accept_redirects" = 0;
        "net.ipv6.conf.default.accept_redirects" = 0;
      }
    );
  };
}
