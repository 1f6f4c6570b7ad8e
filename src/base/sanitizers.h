// SPDX-License-Identifier: Apache-2.0
#pragma once

/* CTRD_ASAN and CTRD_TSAN: 1 in a build with that sanitizer, else 0; gcc and clang say it in different ways.
 */

#if defined(__has_feature)
#define CTRD_HAS_FEATURE(x) __has_feature(x)
#else
#define CTRD_HAS_FEATURE(x) 0
#endif

#if defined(__SANITIZE_ADDRESS__) || CTRD_HAS_FEATURE(address_sanitizer)
#define CTRD_ASAN 1
#else
#define CTRD_ASAN 0
#endif

#if defined(__SANITIZE_THREAD__) || CTRD_HAS_FEATURE(thread_sanitizer)
#define CTRD_TSAN 1
#else
#define CTRD_TSAN 0
#endif

/* clone(2) with the memory shared. ThreadSanitizer takes every clone() for a fork and prepares the child's
 * (here: our) memory for it; the function's other name it does not know. Include <sched.h>. */
#if CTRD_TSAN
extern int __clone(int (*fn)(void *), void *stack, int flags, void *arg, ...);
#define CTRD_CLONE __clone
#else
#define CTRD_CLONE clone
#endif
