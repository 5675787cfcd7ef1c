#!/bin/sh
# Process 1 of the VM. The kernel has configured the network from its command line.
echo "custom-init: process $$ on $(uname -sr)"
httpd -f -p 80 -h /srv/site &
# When process 1 ends the kernel panics: wait for the server, reap what is left
# behind, and switch off in order.
wait $!
poweroff -f
