// SPDX-License-Identifier: Apache-2.0
#include "lazy/bind.h"
#include <dlfcn.h>

void *lazy_symbol(const char *library, const char *name)
{
	// counted by the linker: a library that is there is not opened twice
	void *handle = dlopen(library, RTLD_NOW | RTLD_LOCAL);
	void *s = handle != NULL ? dlsym(handle, name) : NULL;
	if (s == NULL)
		g_error("%s", dlerror());
	return s;
}
