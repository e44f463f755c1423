/* libh2o caches what it frees, per thread: input buffers and chunks of request pools, with
 * everything that clients have sent in them. */
#ifndef COMMON_HTTP_RECYCLED_H
#define COMMON_HTTP_RECYCLED_H

#define RECYCLED_WIPE_MS 500 /* call recycled_wipe this often */

/* Raises this thread's cache of buffers above libh2o's own limit: freeing one costs more, since
 * free() overwrites it. */
void recycled_keep(void);

/* Wipes this thread's cache. */
void recycled_wipe(void);

#endif
