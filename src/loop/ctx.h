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
	/* Metadata that is written for this caller may be lost in a power cut as long as he did not write any
	 * without this: a step of something larger, which is only acknowledged as a whole. See
	 * meta_update_for. */
	bool lazy;
} Ctx;
