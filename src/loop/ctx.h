// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What upstream keeps in a context.Context: on whose behalf and how long. First parameter of everything that
 * works for a caller. Borrowed for the duration of the call; the strings must outlive it.
 */

#include "loop/cancel.h"

typedef struct {
	const char *ns;    // checked namespace; NULL only where a function says that it needs none
	const char *lease; // NULL: no lease
	Cancel *cancel;    // NULL: never canceled
} Ctx;
