# Two hosts or more for one address: keepalived decides by VRRP which of them has it. On a network of one's own it holds the address
# itself; at Hetzner, where networks are routed, the cloud is asked to lead it to this host.
{
  config,
  lib,
  pkgs,
  ...
}:

let
  inherit (lib) mkOption types;
  addresses = import ./addresses.nix { inherit lib; };
  inherit (addresses.types) address interface network;
  option = "services.fiscalismia-lb.highAvailability";
  cfg = config.services.fiscalismia-lb;
  ha = cfg.highAvailability;
  isOn = cfg.enable && ha.enable;
  byCloud = ha.hetzner != null;

  oneOrMore = type: types.coercedTo type lib.singleton (types.nonEmptyListOf type);
  refuseIf =
    condition: message:
    lib.optional condition {
      assertion = false;
      inherit message;
    };

  rules = import ./rules.nix {
    inherit lib;
    privateNetworks = [ ];
  };
  # Packets of VRRP, RFC 9568, with the other hosts and by that interface alone.
  vrrp =
    direction: side:
    rules.forFamilies ha.peers (
      { header, ... }:
      peers:
      "${direction} \"${ha.interface}\" ${header} ${side} ${rules.set peers} meta l4proto 112 accept\n"
    );

  apiPort =
    let
      parts = builtins.match "http(s?)://(\\[[^]]*]|[^/:]*)(:([0-9]+))?(/.*)?" ha.hetzner.api;
      port = lib.elemAt parts 3;
    in
    if port != null then
      lib.toInt port
    else if lib.head parts == "s" then
      443
    else
      80;

  unit = "fiscalismia-lb-floating-ip.service";
  # keepalived waits for no answer: what takes longer than a moment would delay its own packets.
  tell =
    verb:
    pkgs.writeShellScript "fiscalismia-lb-${verb}" ''
      exec ${lib.getExe' config.systemd.package "systemctl"} --no-block ${verb} ${unit}
    '';
  program = pkgs.writeShellApplication {
    name = "fiscalismia-lb-floating-ip";
    runtimeInputs = [
      pkgs.coreutils
      pkgs.curl
      pkgs.jq
    ];
    text = lib.removePrefix "#!/usr/bin/env bash\n" (lib.readFile ./floating-ip);
  };
in
{
  options.services.fiscalismia-lb.highAvailability = {
    enable = lib.mkEnableOption ''
      a second host for the same address, by keepalived. The hosts have the same lines here, but for
      {option}`services.fiscalismia-lb.highAvailability.peers`, `priority` and `hetzner.server`'';
    peers = mkOption {
      type = types.nonEmptyListOf address;
      example = [ "172.24.1.6" ];
      description = "Addresses of the other hosts with the same address, on {option}`services.fiscalismia-lb.highAvailability.interface`.";
    };
    interface = mkOption {
      type = interface;
      example = "enp8s0";
      description = ''
        Interface on which the hosts exchange VRRP packets, one of {option}`services.fiscalismia-lb.privateInterfaces` or the
        public one. The firewall lets VRRP pass on it to and from {option}`services.fiscalismia-lb.highAvailability.peers` only.
      '';
    };
    address = mkOption {
      type = oneOrMore address;
      example = "203.0.113.50";
      description = ''
        Address, or list of addresses, that one of the hosts serves at a time. keepalived adds it to the public interface of that
        host. With {option}`services.fiscalismia-lb.highAvailability.hetzner` every host has it instead, among
        {option}`services.fiscalismia-lb.publicAddresses`, and the cloud sends its packets to one of them.
      '';
    };
    routerId = mkOption {
      type = types.ints.between 1 255;
      default = 51;
      example = 52;
      description = "Number of this group of hosts (VRRP's virtual router id). No other group on the same network may have it.";
    };
    priority = mkOption {
      type = types.ints.between 1 254;
      default = 250;
      example = 251;
      description = ''
        Priority of this host, another one on each. When no host has the address, the host with the highest priority takes it. A
        host that has the address keeps it when another one starts. A higher priority takes over sooner: 250 does so 0.2 s before
        100.
      '';
    };
    hetzner = mkOption {
      type = types.nullOr (
        types.submodule {
          options = {
            floatingIp = mkOption {
              type = oneOrMore types.ints.positive;
              example = 4711;
              description = "Id of the floating IP, or list of such ids, as `hcloud floating-ip list` shows them.";
            };
            server = mkOption {
              type = types.ints.positive;
              example = 42;
              description = "Id of this host, as `hcloud server list` shows it.";
            };
            tokenFile = mkOption {
              type = types.pathWith {
                absolute = true;
                inStore = false;
              };
              example = "/run/secrets/hcloud-token";
              description = "File with an API token of the Hetzner project that may write. systemd reads it as root.";
            };
            api = mkOption {
              type = types.strMatching "https?://([^][/: ]+|\\[[0-9a-fA-F:]+])(:[1-9][0-9]{0,4})?(/[^ ]*)?";
              default = "https://api.hetzner.cloud/v1";
              example = "http://172.24.0.9:8080/v1";
              description = "URL of Hetzner's API.";
            };
            egress = mkOption {
              type = types.nonEmptyListOf network;
              default = [ "0.0.0.0/0" ];
              example = [ "213.239.246.0/24" ];
              description = ''
                Addresses and networks in which Hetzner's API is. The program that asks it can connect to these and to
                {option}`networking.nameservers` only, and the firewall lets it do so.
              '';
            };
          };
        }
      );
      default = null;
      example = {
        floatingIp = 4711;
        server = 42;
        tokenFile = "/run/secrets/hcloud-token";
      };
      description = ''
        Floating IP at Hetzner. When this host is to have the address, it asks the cloud for the floating IP, again and again
        until its packets come here. With null, the host takes the address by ARP or neighbour discovery, as in
        a network without a cloud.
      '';
    };
  };

  config = lib.mkMerge [
    (lib.mkIf isOn {
      services.keepalived = {
        enable = true;
        enableScriptSecurity = true;
        extraGlobalDefs = "vrrp_version 3";
        # Whether the process serves. A server that is down is down for all hosts, and no reason to move: not /ready.
        vrrpScripts.fiscalismia-lb = {
          script = "${lib.getExe cfg.package} health http://${toString cfg.admin.address}/health";
          interval = 1;
          timeout = 1;
          fall = 2;
          rise = 2;
          user = "keepalived_script";
        };
        vrrpInstances.fiscalismia-lb = {
          inherit (ha) interface priority;
          virtualRouterId = ha.routerId;
          # The host with the address keeps it when the other returns. For that, both must start as backup.
          state = "BACKUP";
          noPreempt = true;
          unicastPeers = ha.peers;
          unicastSrcIp = cfg.privateInterfaces.${ha.interface}.address or null;
          # keepalived needs an address to hold. One that the public interface always has does no harm on loopback, and shows there
          # which host is the master.
          virtualIps = map (address: {
            addr = addresses.alone address;
            dev = if byCloud then "lo" else cfg.publicInterface;
          }) ha.address;
          trackScripts = [ "fiscalismia-lb" ];
          trackInterfaces = lib.optional (cfg.publicInterface != ha.interface) cfg.publicInterface;
          extraConfig = ''
            advert_int 0.3
          ''
          + lib.optionalString byCloud ''
            notify_master "${tell "restart"}" root
            notify_backup "${tell "stop"}" root
            notify_fault "${tell "stop"}" root
            notify_stop "${tell "stop"}" root
          '';
        };
      };
      users.users.keepalived_script = {
        isSystemUser = true;
        group = "keepalived_script";
      };
      users.groups.keepalived_script = { };

      assertions =
        refuseIf (!lib.elem ha.interface (lib.attrNames cfg.privateInterfaces ++ [ cfg.publicInterface ]))
          "${option}.interface: ${ha.interface} is neither a private interface (${lib.concatStringsSep ", " (lib.attrNames cfg.privateInterfaces)}) nor the public one (${cfg.publicInterface}); use an interface that leads to the other hosts."
        ++ refuseIf (
          cfg.admin.address == null
        ) "${option} needs this host's /health; set services.fiscalismia-lb.admin.address."
        ++
          refuseIf (lib.elem (cfg.privateInterfaces.${ha.interface}.address or null) ha.peers)
            "${option}.peers: ${
              toString cfg.privateInterfaces.${ha.interface}.address or ""
            } is this host; name only the other hosts."
        ++ lib.concatMap (
          address:
          refuseIf (byCloud && !lib.elem address cfg.publicAddresses)
            "${option}.address: ${address} has to be an address of every host, for the cloud sends its packets to any of them; add it to services.fiscalismia-lb.publicAddresses."
          ++
            refuseIf (!byCloud && lib.elem address cfg.publicAddresses)
              "${option}.address: ${address} is among services.fiscalismia-lb.publicAddresses, so that every host would have it; remove it there."
        ) ha.address;
    })

    (lib.mkIf (isOn && cfg.firewall.enable) {
      networking.firewall.extraInputRules = vrrp "iifname" "saddr";
      services.fiscalismia-lb.firewall.rules = {
        input = vrrp "iifname" "saddr";
        output = vrrp "oifname" "daddr";
      };
    })

    (lib.mkIf (isOn && byCloud) {
      services.fiscalismia-lb.firewall =
        let
          asked = [
            {
              networks = ha.hetzner.egress;
              ports = [ apiPort ];
            }
          ];
        in
        {
          allowedEgress = lib.mkIf (cfg.natGateway != null) asked;
          publicEgress = lib.mkIf (cfg.natGateway == null) asked;
        };

      systemd.services.fiscalismia-lb-floating-ip = {
        description = "Leads the floating IP to this host";
        # Not after network-online.target: it would be waited for again, at the very moment that a link is gone.
        # What keepalived started, a switch leaves alone.
        restartIfChanged = false;
        environment = {
          API = ha.hetzner.api;
          FLOATING_IPS = lib.concatMapStringsSep " " toString ha.hetzner.floatingIp;
          SERVER = toString ha.hetzner.server;
        };
        serviceConfig = {
          Type = "oneshot";
          ExecStart = lib.getExe program;
          # It tries until it has it, or another host is to have it.
          TimeoutStartSec = "infinity";
          Restart = "on-failure";
          RestartSec = "1s";
          LoadCredential = "token:${ha.hetzner.tokenFile}";
          DynamicUser = true;
          IPAddressDeny = "any";
          IPAddressAllow = ha.hetzner.egress ++ [ "localhost" ] ++ config.networking.nameservers;
          CapabilityBoundingSet = "";
          LockPersonality = true;
          MemoryDenyWriteExecute = true;
          NoNewPrivileges = true;
          PrivateDevices = true;
          PrivateUsers = true;
          ProcSubset = "pid";
          ProtectClock = true;
          ProtectControlGroups = true;
          ProtectHome = true;
          ProtectHostname = true;
          ProtectKernelLogs = true;
          ProtectKernelModules = true;
          ProtectKernelTunables = true;
          ProtectProc = "invisible";
          ProtectSystem = "strict";
          RestrictAddressFamilies = [
            "AF_INET"
            "AF_INET6"
            "AF_UNIX"
          ];
          RestrictNamespaces = true;
          RestrictRealtime = true;
          RestrictSUIDSGID = true;
          SystemCallArchitectures = "native";
          SystemCallFilter = [
            "@system-service"
            "~@privileged @resources"
          ];
          UMask = "0077";
        };
      };
    })

    {
      assertions = lib.optionals (cfg.enable && cfg.firewall.enable && !ha.enable) (
        refuseIf (lib.attrByPath [ "services" "keepalived" "enable" ] false config)
          "services.keepalived.enable: this host's firewall drops VRRP, so that every host would take the address; configure it with ${option}, or set services.fiscalismia-lb.firewall.enable = false."
      );
    }
  ];
}
