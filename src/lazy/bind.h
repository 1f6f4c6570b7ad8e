// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * Libraries that most commands of ctr never call, and the daemon not before its first transfer or without a
 * debug, metrics or TCP server, bound at the first use instead of at the start: the dynamic linker would
 * spend three quarters of the time of a short command on them, and an idle daemon would have half of its
 * memory of them. The linker finds the functions in this folder and leaves the libraries out (--as-needed),
 * so each function that our code calls of such a library has to be here; without one the program is linked as
 * ever.
 *
 * Only main programs link this folder. Any thread may call the functions. A library that is not installed is
 * fatal at the first call: our packages depend on them all.
 */
#include <glib.h>
#include <stdbool.h>

/* NOT_FOUND where libcurl cannot be loaded, as may be with programs that were copied by hand. Weak: remote/
 * asks, and is linked without this folder, too. */
bool lazy_curl_load(GError **error) __attribute__((weak));

/* The function of that name in a library (its soname); never NULL. */
void *lazy_symbol(const char *library, const char *name);

/* The function of that name in LIBRARY (a macro of the including file), looked for once; two threads may both
 * look, and find the same. */
#define BIND(type, name, parameters)                                                                         \
	static type(*_Atomic bound) parameters;                                                              \
	type(*f) parameters = bound;                                                                         \
	if (f == NULL) {                                                                                     \
		bound = f = (type(*) parameters)lazy_symbol(LIBRARY, #name);                                 \
	}

#define FORWARD(type, name, parameters, arguments)                                                           \
	type(name) parameters                                                                                \
	{                                                                                                    \
		BIND(type, name, parameters);                                                                \
		return f arguments;                                                                          \
	}
