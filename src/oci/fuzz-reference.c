// SPDX-License-Identifier: Apache-2.0
#include "base/error.h"
#include "oci/platform.h"
#include "oci/reference.h"
#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_platform(const char *s)
{
	g_auto(Platform) p = {0}, again = {0};
	if (!platform_parse(s, &p, NULL))
		return;
	// not always the same: upstream's formatting neither escapes everything nor refuses dots
	g_autofree char *text = platform_format_all(&p);
	if (!platform_parse(text, &again, NULL))
		platform_copy(&again, &p);
	g_autoptr(PlatformMatcher) m = platform_matcher_only(&p);
	platform_matches(m, &again);
	g_assert_false(platform_less(m, &again, &again));
}

/* What is accepted reads back as what was written. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	g_autofree char *s = g_strndup((const char *)data, size);
	g_auto(RefSpec) spec = {0};
	if (ref_spec_parse(s, &spec, NULL)) {
		g_autofree char *whole = ref_spec_format(&spec), *host = ref_spec_hostname(&spec),
		                *tag = ref_spec_tag(&spec);
		g_assert_true(strlen(tag) <= strlen(whole) && strlen(host) <= strlen(whole));
		g_assert_true(strlen(ref_spec_digest(&spec)) <= strlen(s) &&
		              strlen(ref_spec_path(&spec)) <= strlen(s));
	}
	g_auto(DockerRef) ref = {0}, full = {0}, any = {0};
	if (docker_ref_parse_normalized(s, &ref, NULL)) {
		g_autofree char *whole = docker_ref_format(&ref),
		                *familiar = docker_ref_familiar_format(&ref);
		g_auto(DockerRef) again = {0};
		g_assert_true(strlen(familiar) <= strlen(whole));
		g_assert_true(docker_ref_parse_normalized(whole, &again, NULL));
		g_autofree char *whole2 = docker_ref_format(&again);
		g_assert_cmpstr(whole, ==, whole2);
	}
	check_platform(s);
	docker_ref_parse(s, &full, NULL);
	docker_ref_parse_any(s, &any, NULL);
	return 0;
}
