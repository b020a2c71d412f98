# The service may read the Nix store and its configuration, talk to the private networks, and accept on the sockets it is given.
#
# `systemd-analyze security` still counts against it:
# - PrivateNetwork, RestrictAddressFamilies=AF_INET AF_INET6: it is a load balancer.
# - RestrictAddressFamilies=AF_UNIX: the way to systemd's notify socket and the journal.
# - IPAddressDeny: any, but then not only loopback is allowed.
# - RootDirectory: the configuration is a symlink that a switch turns elsewhere in the Nix store.
{
  lib,
  networks,
  bindsSource,
}:

{
  # Not by the unit's name, which is a group's: those who may give commands.
  DynamicUser = true;
  User = "fiscalismia-lb-service";
  UMask = "0077";

  # The sockets come from systemd, so that even port 443 needs no capability.
  CapabilityBoundingSet = "";
  AmbientCapabilities = "";
  NoNewPrivileges = true;
  SecureBits = "noroot-locked";

  # These bear on the sockets that the service makes itself, to servers; those it was passed belong to the socket units.
  IPAddressDeny = "any";
  # No RestrictNetworkInterfaces: it keeps the indices of the start, and an interface that is made anew has another.
  IPAddressAllow = networks;
  RestrictAddressFamilies = [
    "AF_INET"
    "AF_INET6"
    "AF_UNIX"
  ];

  ProtectSystem = "strict";
  ProtectHome = true;
  PrivateTmp = true;
  PrivateDevices = true;
  DevicePolicy = "closed";
  ProtectProc = "invisible";
  ProcSubset = "pid";
  ProtectClock = true;
  ProtectControlGroups = true;
  ProtectHostname = true;
  ProtectKernelLogs = true;
  ProtectKernelModules = true;
  ProtectKernelTunables = true;
  NoExecPaths = "/";
  ExecPaths = "/nix/store";

  PrivateUsers = true;
  PrivateIPC = true;
  RemoveIPC = true;
  KeyringMode = "private";
  LockPersonality = true;
  MemoryDenyWriteExecute = true;
  RestrictNamespaces = true;
  RestrictRealtime = true;
  RestrictSUIDSGID = true;
  LimitCORE = 0;

  SystemCallArchitectures = "native";
  # A call that is missing here is an error to the program and not its end. Reading a terminal's settings is one (ioctl). Without
  # listen and bind, SocketBindDeny would forbid nothing more, and its BPF program makes each start 100 ms longer on a busy machine.
  SystemCallErrorNumber = "EPERM";
  SystemCallFilter = [
    "@basic-io"
    "@io-event"
    "@signal"
    "accept4"
    "access"
    "connect"
    "fcntl"
    "fstat"
    "getpeername"
    "getsockname"
    "getsockopt"
    "madvise"
    "memfd_create"
    "mremap"
    "newfstatat"
    "open"
    "openat"
    "pipe2"
    "recvfrom"
    "recvmsg"
    "sendmsg"
    "sendto"
    "setsockopt"
    "shutdown"
    "socket"
    "socketpair"
    "splice"
    "statx"
    "tgkill"
    "timerfd_create"
    "timerfd_settime"
  ]
  # A server's `source` is bound before connecting.
  ++ lib.optional bindsSource "bind";
}
