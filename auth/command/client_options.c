#include "auth/command/client_options.h"

struct client_change client_options_change(const struct client_options *options)
{
    return (struct client_change){
        .name = options->name,
        .tier = options->tier,
        .scope = options->scope,
        .audiences = options->audiences.items,
        .audience_count = options->audiences.count,
        .token_ttl_s = options->token_ttl.is_given ? &options->token_ttl.value : NULL,
    };
}
