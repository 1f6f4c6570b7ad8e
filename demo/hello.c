// SPDX-License-Identifier: Apache-2.0
/* What `make demo` runs in a container: says where it is. Static and without libraries, so that it is the
 * whole image. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/utsname.h>
#include <unistd.h>

int main(void)
{
	struct utsname u;
	if (uname(&u) != 0)
		return 1;
	printf("Hello from a container: pid %d, uid %d, host name %s, kernel %s\n", (int)getpid(),
	       (int)getuid(), u.nodename, u.release);
	const char *path = getenv("PATH");
	printf("PATH=%s\n", path != NULL ? path : "");
	return 0;
}
