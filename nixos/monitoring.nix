# services.fiscalismia-lb.monitoring, for the host that watches load balancers: Prometheus scrapes them and alerts, Grafana shows
# them.
{ config, lib, ... }:

let
  inherit (lib) mkOption types;
  addresses = import ./addresses.nix { inherit lib; };
  cfg = config.services.fiscalismia-lb.monitoring;
  prometheus = config.services.prometheus;
in
{
  options.services.fiscalismia-lb.monitoring = {
    enable = lib.mkEnableOption "watching load balancers with Prometheus and, where it is enabled, Grafana";
    targets = mkOption {
      type = types.nonEmptyListOf addresses.types.endpoint;
      example = [
        "172.24.1.3:8404"
        "172.24.1.6:8404"
      ];
      description = ''
        Addresses and ports of the load balancers to watch, for each its {option}`services.fiscalismia-lb.admin.address`. The
        {option}`services.fiscalismia-lb.admin.allowFrom` of each has to contain an address of this host.
      '';
    };
    job = mkOption {
      type = types.str;
      default = "fiscalismia-lb";
      example = "haproxy";
      description = "Label `job` of the load balancers' series. With the label that an HAProxy had before, its graphs continue.";
    };
    interval = mkOption {
      type = types.str;
      default = "15s";
      example = "5s";
      description = "Time between two scrapes of a load balancer.";
    };
    rules = mkOption {
      type = types.bool;
      default = true;
      example = false;
      description = "Whether Prometheus has the alerts of `grafana/alerts.yml`. Its Alertmanager decides where they go.";
    };
    dashboard = mkOption {
      type = types.bool;
      default = config.services.grafana.enable;
      defaultText = lib.literalExpression "config.services.grafana.enable";
      example = false;
      description = "Whether Grafana has the dashboard `grafana/dashboard.json`, and the Prometheus of this host as a data source.";
    };
  };

  config = lib.mkIf cfg.enable {
    services.prometheus = {
      enable = true;
      scrapeConfigs = [
        {
          job_name = cfg.job;
          scrape_interval = cfg.interval;
          static_configs = [ { inherit (cfg) targets; } ];
        }
      ];
      ruleFiles = lib.optional cfg.rules ../grafana/alerts.yml;
    };

    services.grafana.provision = lib.mkIf cfg.dashboard {
      enable = true;
      datasources.settings.datasources = [
        {
          name = "fiscalismia-lb";
          type = "prometheus";
          url = "http://${
            if prometheus.listenAddress == "0.0.0.0" then "127.0.0.1" else prometheus.listenAddress
          }:${toString prometheus.port}";
        }
      ];
      dashboards.settings.providers = [
        {
          name = "fiscalismia-lb";
          options.path = builtins.path {
            name = "fiscalismia-lb-dashboards";
            path = ../grafana;
            filter = path: _: lib.hasSuffix "dashboard.json" path;
          };
        }
      ];
    };
  };
}
