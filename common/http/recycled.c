/* Only libh2o reaches its cache: so allocate all of it, wipe it and free it. */
#include "common/http/recycled.h"

#include <h2o.h>
#include <openssl/crypto.h>

#define BUFFERS     64 /* 8 KiB each */
#define CHUNKS      16 /* as many as libh2o caches */
#define CHUNK_BYTES 4080
#define PIECE_BYTES 1008 /* a larger piece would not come from a chunk */

void recycled_keep(void)
{
    h2o_socket_buffer_prototype.allocator.max = BUFFERS;
}

static void wipe_buffers(void)
{
    h2o_buffer_t *buffers[BUFFERS];
    size_t count = h2o_socket_buffer_prototype.allocator.cnt;

    for (size_t i = 0; i != count; ++i) {
        h2o_iovec_t room;

        h2o_buffer_init(&buffers[i], &h2o_socket_buffer_prototype);
        room = h2o_buffer_reserve(&buffers[i], 1);
        OPENSSL_cleanse(room.base, room.len);
    }
    for (size_t i = 0; i != count; ++i)
        h2o_buffer_dispose(&buffers[i]);
}

static void wipe_piece(h2o_mem_pool_t *pool, size_t length)
{
    OPENSSL_cleanse(h2o_mem_alloc_pool(pool, length), length);
}

static void wipe_chunks(void)
{
    h2o_mem_pool_t pool;

    h2o_mem_init_pool(&pool);
    for (size_t i = 0; i != CHUNKS; ++i) {
        for (size_t done = 0; done != CHUNK_BYTES / PIECE_BYTES; ++done)
            wipe_piece(&pool, PIECE_BYTES);
        wipe_piece(&pool, CHUNK_BYTES % PIECE_BYTES);
    }
    h2o_mem_clear_pool(&pool);
}

void recycled_wipe(void)
{
    wipe_buffers();
    wipe_chunks();
}
