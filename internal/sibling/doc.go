// Package sibling mounts images for a process that may not, such as fledge in a
// container action: by another container beside it, over the Docker socket.
//
// # How
//
// [Open] finds the container that this process is in, and a folder on a volume of it.
// [Mounter.Mount] makes a folder there that only root can enter, listens on a socket in
// it, and has the daemon start a container of the same image, by its id, and the same
// volumes, whose only process is 'fledge mount SOCKET': [Serve]. The image's descriptor
// goes through the socket (SCM_RIGHTS), and the descriptor of the mounted root folder
// comes back. Files are then written here, where the contents are. The mount is in no
// folder of either container: see package loop.
//
// Messages are packets (SOCK_SEQPACKET) of JSON. The parent sends a loop.Mount with the
// image; the sibling answers {} with the root folder, or {"error": "…"}. The parent
// closes all it has of the mount and sends {"done": true}; the sibling unmounts, detaches,
// answers {} or an error, and ends.
//
// # What the sibling may
//
// It is never privileged. It has no network, no way to new privileges and a read-only
// root filesystem, and of the capabilities CAP_SYS_ADMIN (to mount and to set up a loop
// device), CAP_MKNOD (for the device's node, which a container does not have) and
// CAP_DAC_OVERRIDE (to reach the socket in a volume of another user). Of devices it
// gets /dev/loop-control and, by a rule, loop devices. AppArmor is off for it,
// because Docker's profile denies mount(2). The API is that of
// https://docs.docker.com/reference/api/engine/, in the version that the daemon has.
//
// # The end
//
// Either side ends when the other does. The sibling's descriptors are then closed by
// the kernel at the latest, with which the mount and the loop device go. The daemon removes
// the container when its process has ended; besides, [Mounter] removes it, within
// seconds also when the build is cancelled. The socket's folder is removed as soon as the
// two are connected. What is left of a parent that was killed before that, the sibling
// and the next parent remove, which know both by a label and by the folder's name.
//
// # Trust
//
// Whoever may use the Docker socket is root on the host, so the sibling gives nobody
// more than they have. Each side takes what the other sends as hostile all the same:
// one connection, packets of at most 16 KiB, exactly one descriptor where one is due, of
// the right type.
package sibling
