// SPDX-License-Identifier: Apache-2.0
#pragma once

/* Gives memory back when nothing has happened for a while: freed heap, and the pages of the program's text
 * that only starting needed. What is needed again is read back from the page cache. Loop's thread only. */

#include "loop/loop.h"

typedef struct Idle Idle;
/* For as long as the loop runs. */
Idle *idle_new(Loop *loop);
/* The same once, at once, for a process that is about to sleep for good; the heap is left alone. */
void idle_drop(void);
