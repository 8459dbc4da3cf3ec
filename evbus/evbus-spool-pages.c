/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Home-made because SQLite gives up on a tree at its first damaged page, and what
 * hangs below it is sound most often. Nothing here is trusted: what is found has
 * a checksum of its own. The layout is that of https://sqlite.org/fileformat.html,
 * section 1.6 (leaf pages of tables, overflow). */

#include "evbus-spool-pages-private.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <unistd.h>

#include "evbus-error.h"
#include "evbus-spool-frames-private.h"
#include "evbus-spool-store-private.h"

#define PAGE 4096u
#define LEAF 0x0d
#define MAX_LOCAL (PAGE - 35u)
#define MIN_LOCAL ((PAGE - 12u) * 32u / 255u - 23u)

/* Between two looks whether the walk is to go on. */
#define STEP_PAGES 64u

/* No record is larger. */
#define MAX_PAYLOAD (1u << 30)

/* A record begins so far into its row at most: a header and a number or two. */
#define MAX_ROW_HEADER 64u

struct _EvbusSpoolPages
{
  int         fd;
  int         wal_fd;       /* or -1 */
  guint32     n_pages;
  GArray     *frames;       /* EvbusSpoolFrame: what the WAL has committed */
  GHashTable *in_wal;       /* page → 1 + the index of the last one of it */
  GHashTable *overflow;     /* pages that are the rest of a row that was found */
  guint8      page[PAGE];
  guint8      other[PAGE];
  GByteArray *row;
};

static guint32
get_be32 (const guint8 *data)
{
  return (guint32) data[0] << 24 | data[1] << 16 | data[2] << 8 | data[3];
}

static guint
get_be16 (const guint8 *data)
{
  return (guint) data[0] << 8 | data[1];
}

/* The last version of a page is the one that counts. */
static void
read_wal (EvbusSpoolPages *self)
{
  for (guint i = 0; i < self->frames->len; i++)
    {
      const EvbusSpoolFrame *frame = &g_array_index (self->frames, EvbusSpoolFrame, i);

      g_hash_table_replace (self->in_wal, GUINT_TO_POINTER (frame->page), GUINT_TO_POINTER (i + 1));
      /* A number that is made up does not make a walk without end. */
      if (frame->page <= self->n_pages + i + 1)
        self->n_pages = MAX (self->n_pages, frame->page);
    }
}

/* -1: it cannot be opened, or is not there. */
static int
open_file (const char  *path,
           GError     **error)
{
  int fd = g_open (path, O_RDONLY | O_CLOEXEC, 0);
  int reason = errno;

  if (fd < 0 && reason != ENOENT)
    g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_SPOOL_FAILED,
                 "%s: it is damaged, and what can be read of it cannot be recovered: %s", path, g_strerror (reason));
  return fd;
}

EvbusSpoolPages *
evbus_spool_pages_open (const char  *path,
                        GError     **error)
{
  g_autofree char *wal = g_strconcat (path, "-wal", NULL);
  g_autoptr(EvbusSpoolPages) self = g_new0 (EvbusSpoolPages, 1);
  g_autoptr(GError) failure = NULL;
  GStatBuf status;

  self->in_wal = g_hash_table_new (NULL, NULL);
  self->overflow = g_hash_table_new (NULL, NULL);
  self->row = g_byte_array_new ();
  self->wal_fd = -1;
  self->fd = open_file (path, &failure);
  if (failure == NULL)
    self->wal_fd = open_file (wal, &failure);
  self->frames = evbus_spool_frames_read (self->wal_fd, PAGE);
  if (failure != NULL)
    {
      g_propagate_error (error, g_steal_pointer (&failure));
      return NULL;
    }
  if (fstat (self->fd, &status) == 0)
    self->n_pages = (guint32) MIN ((status.st_size + PAGE - 1) / PAGE, G_MAXUINT32 / 2);
  read_wal (self);
  return g_steal_pointer (&self);
}

void
evbus_spool_pages_free (EvbusSpoolPages *self)
{
  if (self->fd >= 0)
    close (self->fd);
  if (self->wal_fd >= 0)
    close (self->wal_fd);
  g_array_unref (self->frames);
  g_hash_table_unref (self->in_wal);
  g_hash_table_unref (self->overflow);
  g_byte_array_unref (self->row);
  g_free (self);
}

/* What is not there is zero. */
static void
read_at (int      fd,
         goffset  at,
         guint8  *page)
{
  gssize n = MAX (pread (fd, page, PAGE, at), 0);

  memset (page + n, 0, PAGE - n);
}

static guint
get_frame (EvbusSpoolPages *self,
           guint32          number)
{
  return GPOINTER_TO_UINT (g_hash_table_lookup (self->in_wal, GUINT_TO_POINTER (number)));
}

static void
read_page (EvbusSpoolPages *self,
           guint32          number,
           guint8          *page)
{
  guint frame = get_frame (self, number);

  if (frame > 0)
    read_at (self->wal_fd, g_array_index (self->frames, EvbusSpoolFrame, frame - 1).at, page);
  else
    read_at (self->fd, (goffset) (number - 1) * PAGE, page);
}

/* SQLite's variable-length number. Returns its bytes; 0: it does not end before
 * @end. */
static guint
get_varint (const guint8 *data,
            const guint8 *end,
            guint64      *value)
{
  *value = 0;
  for (guint i = 0; i < 9 && data + i < end; i++)
    {
      if (i == 8)
        {
          *value = *value << 8 | data[i];
          return 9;
        }
      *value = *value << 7 | (data[i] & 0x7f);
      if ((data[i] & 0x80) == 0)
        return i + 1;
    }
  return 0;
}

/* The rest of a row, in pages of its own. @left: bytes. */
static gboolean
read_overflow (EvbusSpoolPages *self,
               guint32          number,
               gsize            left)
{
  while (left > 0)
    {
      gsize n = MIN (left, PAGE - 4);

      if (number == 0 || number > self->n_pages)
        return FALSE;
      read_page (self, number, self->other);
      g_byte_array_append (self->row, self->other + 4, n);
      g_hash_table_add (self->overflow, GUINT_TO_POINTER (number));
      number = get_be32 (self->other);
      left -= n;
    }
  return TRUE;
}

/* Whether something of ours may begin here. */
static gboolean
is_magic (const guint8 *data)
{
  guint32 magic;

  memcpy (&magic, data, sizeof magic);
  magic = GUINT32_FROM_LE (magic);
  return magic == EVBUS_RECORD_MAGIC || magic == EVBUS_SPOOL_SET_MAGIC || magic == EVBUS_SPOOL_SET_MAGIC_1;
}

/* Returns its bytes in the page, or 0. */
static guint
read_cell (EvbusSpoolPages      *self,
           guint                 at,
           EvbusSpoolPagesFound  found,
           gpointer              user_data)
{
  const guint8 *end = self->page + PAGE;
  const guint8 *cell = self->page + at;
  guint64 size, key;
  gsize local;
  guint n;

  n = get_varint (cell, end, &size);
  cell += n;
  if (n == 0 || size > MAX_PAYLOAD || (n = get_varint (cell, end, &key)) == 0)
    return 0;
  cell += n;

  local = size;
  if (size > MAX_LOCAL)
    {
      local = MIN_LOCAL + (size - MIN_LOCAL) % (PAGE - 4);
      if (local > MAX_LOCAL)
        local = MIN_LOCAL;
    }
  if ((gsize) (end - cell) < local + (local < size ? 4 : 0))
    return 0;
  g_byte_array_set_size (self->row, 0);
  g_byte_array_append (self->row, cell, local);
  if (local < size && !read_overflow (self, get_be32 (cell + local), size - local))
    return 0;

  for (guint i = 0; i + 4 <= self->row->len && i < MAX_ROW_HEADER; i++)
    {
      if (is_magic (self->row->data + i))
        found (self->row->data + i, self->row->len - i, user_data);
    }
  return MAX (4, (guint) (cell - (self->page + at)) + local + (local < size ? 4 : 0));
}

/* What is free among the rows of a leaf, after @start; G_MAXUINT: the list of it is
 * not sound. */
static guint
count_free (const guint8 *page,
            guint         start)
{
  guint at = get_be16 (page + 1);
  guint n = page[7];

  for (guint before = start; at != 0; at = get_be16 (page + at))
    {
      if (at < before || at + 4 > PAGE)
        return G_MAXUINT;
      before = at + 4;
      n += get_be16 (page + at + 2);
    }
  return n;
}

/* Whether the page is the leaf of a table, all of whose rows could be followed, and
 * there is no byte that belongs to none: a wrong number of rows would hide some. */
static gboolean
read_leaf (EvbusSpoolPages      *self,
           EvbusSpoolPagesFound  found,
           gpointer              user_data)
{
  guint n_cells = get_be16 (self->page + 3);
  guint start = get_be16 (self->page + 5);
  guint n_bytes = 0, n_free;
  gboolean sound = TRUE;

  if (self->page[0] != LEAF || 8 + 2 * n_cells > PAGE)
    return FALSE;
  n_free = count_free (self->page, start);
  for (guint i = 0; i < n_cells; i++)
    {
      guint at = get_be16 (self->page + 8 + 2 * i);
      guint size = at >= 8 + 2 * n_cells && at < PAGE ? read_cell (self, at, found, user_data) : 0;

      sound &= size > 0;
      n_bytes += size;
    }
  return sound && n_free != G_MAXUINT && start + n_bytes + n_free == PAGE;
}

static void
scan_page (EvbusSpoolPages      *self,
           EvbusSpoolPagesFound  found,
           gpointer              user_data)
{
  for (guint i = 0; i + 4 <= PAGE; i++)
    {
      if (is_magic (self->page + i))
        found (self->page + i, PAGE - i, user_data);
    }
}

/* FALSE: @step says so. */
static gboolean
walk_valid (EvbusSpoolPages      *self,
            EvbusSpoolPagesFound  found,
            EvbusSpoolPagesStep   step,
            gpointer              user_data)
{
  g_autoptr(GArray) odd = g_array_new (FALSE, FALSE, sizeof (guint32));

  for (guint32 number = 1; number <= self->n_pages; number++)
    {
      if (number % STEP_PAGES == 0 && !step (number, self->n_pages, user_data))
        return FALSE;
      read_page (self, number, self->page);
      if (!read_leaf (self, found, user_data))
        g_array_append_val (odd, number);
    }

  /* A body is bytes of the producer's choice, and what it holds is no record: the
   * rest of a row is not searched. */
  for (guint i = 0; i < odd->len; i++)
    {
      guint32 number = g_array_index (odd, guint32, i);

      if (i % STEP_PAGES == 0 && !step (self->n_pages, self->n_pages, user_data))
        return FALSE;
      if (g_hash_table_contains (self->overflow, GUINT_TO_POINTER (number)))
        continue;
      read_page (self, number, self->page);
      scan_page (self, found, user_data);
    }
  return TRUE;
}

/* What the WAL has replaced, the newest first: there may be what its damaged successor has lost. Where
 * the WAL was damaged, what the file has is even the newer one. */
static void
walk_replaced (EvbusSpoolPages      *self,
               EvbusSpoolPagesFound  found,
               EvbusSpoolPagesStep   step,
               gpointer              user_data)
{
  for (guint i = self->frames->len; i > 0; i--)
    {
      const EvbusSpoolFrame *frame = &g_array_index (self->frames, EvbusSpoolFrame, i - 1);
      gboolean last = get_frame (self, frame->page) == i;

      if (i % STEP_PAGES == 0 && !step (self->n_pages, self->n_pages, user_data))
        return;
      if (last)
        read_at (self->fd, (goffset) (frame->page - 1) * PAGE, self->page);
      else
        read_at (self->wal_fd, frame->at, self->page);
      read_leaf (self, found, user_data);
    }
}

void
evbus_spool_pages_walk (EvbusSpoolPages      *self,
                        EvbusSpoolPagesFound  found,
                        EvbusSpoolPagesStep   step,
                        gpointer              user_data)
{
  if (walk_valid (self, found, step, user_data))
    walk_replaced (self, found, step, user_data);
}
