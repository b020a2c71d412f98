# What is open on the public interface: for TLS, for routes that have their own, and for the redirect.
{ lib, cfg }:

cfg.settings.listen
++ lib.concatLists (lib.attrValues cfg.listeners)
++ cfg.configuration.redirect.listen or [ ]
