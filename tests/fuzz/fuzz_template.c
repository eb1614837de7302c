/* fuzz_template.c - fuzz target: any bytes as a chat template and, behind the first NUL, as
 * messages.
 *
 * Whatever a template does, it ends within its steps, and what it makes is UTF-8 with an origin for
 * every byte. */
#include <stdlib.h>
#include <string.h>

#include "fuzz_use.h"
#include "tfm/template.h"

enum { STEPS = 200000 };

static void render(const char *text, size_t n, const char *messages, size_t n_messages) {
    static const tfm_template_time now = {2024, 2, 29, 1, 2, 3};
    const tfm_template_variable v[] = {
        {"messages", messages, n_messages, false},
        {"tools", "[{\"a\": [1, 2.5, null], \"items\": {}}]", 35, false},
        {"bos_token", "\"<s>\"", 5, true},
        {"add_generation_prompt", "true", 4, false}};
    const tfm_template_input in = {
        .variable = v, .n_variables = sizeof v / sizeof *v, .now = &now, .max_steps = STEPS};
    tfm_template *t;
    tfm_rendered r;
    if (tfm_template_new(&t, "t", text, n, NULL) != TFM_OK) return;
    if (tfm_template_render(t, &in, &r, NULL) == TFM_OK) {
        fuzz_must(r.text[r.n] == '\0', "no NUL behind the text");
        fuzz_must(tfm_text_span(r.text, r.n) == r.n, "the text is not UTF-8");
        for (size_t i = 0; i < r.n; i++) fuzz_must(r.own[i] <= 1, "an origin that is none");
        const tfm_status st = tfm_rendered_continue(&r, messages, n_messages, NULL);
        fuzz_must(st != TFM_OK || r.text[r.n] == '\0', "no NUL behind the cut text");
        tfm_rendered_free(&r);
    }
    tfm_template_free(t);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char usual[] = "[{\"role\": \"user\", \"content\": \" h\\u00e9 <|x|>\\n\"},"
                                "{\"role\": \"assistant\", \"content\": \"<think>a</think>b\"}]";
    char *text = (char *)fuzz_copy(data, size);
    const char *end = size ? memchr(text, '\0', size) : NULL;
    if (end)
        render(text, (size_t)(end - text), end + 1, size - (size_t)(end - text) - 1);
    else
        render(text, size, usual, sizeof usual - 1);
    free(text);
    return 0;
}
