# What the host has besides and this module's firewall leaves without effect: nothing would say so, packets are lost in silence.
{ config, lib, ... }:

let
  option = "services.fiscalismia-lb";
  cfg = config.services.fiscalismia-lb;
  addresses = import ./addresses.nix { inherit lib; };
  inherit (cfg) firewall publicInterface;
  privateInterfaces = lib.attrNames cfg.privateInterfaces;

  # NixOS itself or a module that is not there in every release.
  is = path: lib.attrByPath (lib.splitString "." path) false config == true;
  on = lib.filter (path: is "${path}.enable");
  anyOf = path: lib.attrNames (lib.attrByPath (lib.splitString "." path) { } config);
  warnIf = condition: text: lib.optional condition "${option}.firewall: ${text}";
  list = lib.concatMapStringsSep ", " toString;

  passes =
    protocol: port: lib.any (passage: passage.protocol == protocol && lib.elem port passage.ports);
  ingress = firewall.publicIngress ++ firewall.allowedIngress;
  egress = firewall.publicEgress ++ firewall.allowedEgress;

  sshPorts = config.services.openssh.ports;
  ssh =
    warnIf
      (
        config.services.openssh.enable
        && firewall.sshFrom == [ ]
        && !lib.any (port: passes "tcp" port ingress) sshPorts
      )
      "ssh is closed to every address, and the host's console is the only way to log in. Add the addresses of operators to ${option}.firewall.sshFrom (private interfaces) or ${option}.firewall.publicIngress (port ${list sshPorts}).";

  # Opened in NixOS's own firewall by hand or by an openFirewall.
  publicPorts = map (endpoint: (addresses.parseEndpoint endpoint).port) (
    import ./public.nix { inherit lib cfg; }
  );
  opened =
    protocol: own:
    let
      nixos = config.networking.firewall;
      name = "allowed${lib.toUpper protocol}Ports";
      ranges = map (range: "${toString range.from}-${toString range.to}") (
        nixos."allowed${lib.toUpper protocol}PortRanges" or [ ]
      );
      elsewhere = lib.concatMap (interface: nixos.interfaces.${interface}.${name} or [ ]) (
        lib.unique ([ publicInterface ] ++ privateInterfaces)
      );
      ports = lib.filter (port: !lib.elem port own && !passes protocol port ingress) (
        lib.unique (nixos.${name} ++ elsewhere)
      );
    in
    warnIf (ports ++ ranges != [ ])
      "networking.firewall opens ${protocol} ${list (ports ++ ranges)}, which stays closed. Add the addresses of its clients to ${option}.firewall.allowedIngress (private interfaces) or .publicIngress.";
  # Ends of `forward` are left to NixOS's firewall.
  trusted = lib.subtractLists (
    [ "lo" ]
    ++ lib.concatMap (entry: [
      entry.from
      entry.to
    ]) firewall.forward
  ) (config.networking.firewall.trustedInterfaces or [ ]);
  trust =
    warnIf (trusted != [ ])
      "networking.firewall trusts ${list trusted}, and its packets are dropped all the same. Add its connections to ${option}.firewall.forward or, for a private interface, .allowedIngress.";

  adminPort =
    lib.optional (cfg.admin.address != null)
      (addresses.parseEndpoint cfg.admin.address).port;

  clocks = on [
    "services.timesyncd"
    "services.chrony"
    "services.ntp"
    "services.openntpd"
    "services.ntpd-rs"
  ];
  clock =
    warnIf (clocks != [ ] && !passes "udp" 123 egress)
      "${list clocks} cannot ask for the time. Allow udp 123 in ${option}.firewall.publicEgress or, through a NAT gateway, .allowedEgress.";

  engines = on [
    "virtualisation.docker"
    "virtualisation.podman"
    "virtualisation.libvirtd"
    "virtualisation.incus"
    "services.k3s"
    "services.rke2"
    "services.kubernetes.kubelet"
  ];
  containers =
    warnIf (engines != [ ] && firewall.forward == [ ])
      "no connection of the containers or machines of ${list engines} is forwarded. Add their interfaces to ${option}.firewall.forward.";

  tunnels =
    map (name: "WireGuard's ${name}") (
      anyOf "networking.wireguard.interfaces" ++ anyOf "networking.wg-quick.interfaces"
    )
    ++ map (name: "WireGuard's ${name}") (
      lib.attrNames (
        lib.filterAttrs (_: device: device.netdevConfig.Kind or null == "wireguard") (
          config.systemd.network.netdevs or { }
        )
      )
    )
    ++ on [
      "services.tailscale"
      "services.zerotierone"
      "services.nebula"
    ];
  isUdp = passage: passage.protocol == "udp" && passage.ports != [ 53 ] && passage.ports != [ 123 ];
  tunnel =
    warnIf (tunnels != [ ] && !lib.any isUdp (ingress ++ egress))
      "the packets of ${list tunnels} itself are dropped both ways. Allow its udp port in ${option}.firewall.publicIngress and .publicEgress.";

  nginxPorts =
    let
      hosts = lib.attrValues config.services.nginx.virtualHosts;
      portsOf =
        host:
        if host.listen != [ ] then
          map (listen: listen.port) host.listen
        else
          lib.optional (!host.onlySSL) config.services.nginx.defaultHTTPListenPort
          ++ lib.optional (
            host.onlySSL || host.addSSL || host.forceSSL
          ) config.services.nginx.defaultSSLListenPort;
    in
    lib.intersectLists publicPorts (lib.concatMap portsOf hosts);
  nginx =
    lib.optional (is "services.nginx.enable" && nginxPorts != [ ])
      "${option}: services.nginx listens on port ${list (lib.unique nginxPorts)} too, and cannot start. Give its virtual hosts a `listen` with another port, such as 127.0.0.1:8443, and use that as a server's address.";
in
{
  warnings = lib.mkIf cfg.enable (
    nginx
    ++ lib.optionals firewall.enable (
      ssh
      ++ opened "tcp" (publicPorts ++ sshPorts ++ adminPort)
      ++ opened "udp" [ ]
      ++ trust
      ++ clock
      ++ containers
      ++ tunnel
    )
  );
}
