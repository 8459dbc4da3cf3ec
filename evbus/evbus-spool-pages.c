/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Home-made because SQLite gives up on a tree at its first damaged page, and what
 * hangs below it is sound most often. Nothing here is trusted: what is found has
 * a checksum of its own. The layout is that of https://sqlite.org/fileformat.html,
 * sections 1.6 (leaf pages of tables, overflow) and 4.1 (WAL). */

#include "evbus-spool-pages-private.h"

#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <unistd.h>

#define PAGE 4096u
#define LEAF 0x0d
#define WAL_HEADER 32u
#define FRAME_HEADER 24u
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
  GHashTable *in_wal;       /* page → its offset in the WAL */
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

/* A frame is of this WAL, not of one before it, if it has the salts of the header. */
static void
read_wal (EvbusSpoolPages *self)
{
  guint8 header[WAL_HEADER], frame[FRAME_HEADER];
  goffset at = WAL_HEADER;

  if (self->wal_fd < 0 || pread (self->wal_fd, header, sizeof header, 0) != sizeof header)
    return;
  while (pread (self->wal_fd, frame, sizeof frame, at) == sizeof frame && memcmp (frame + 8, header + 16, 8) == 0)
    {
      guint32 number = get_be32 (frame);
      gint64 *offset = g_new (gint64, 1);

      *offset = at + FRAME_HEADER;
      g_hash_table_replace (self->in_wal, GUINT_TO_POINTER (number), offset);
      /* A number that is made up does not make a walk without end. */
      if (number <= self->n_pages + (guint32) (at / PAGE) + 1)
        self->n_pages = MAX (self->n_pages, number);
      at += FRAME_HEADER + PAGE;
    }
}

EvbusSpoolPages *
evbus_spool_pages_open (const char *path)
{
  g_autofree char *wal = g_strconcat (path, "-wal", NULL);
  int fd = g_open (path, O_RDONLY | O_CLOEXEC, 0);
  EvbusSpoolPages *self;
  GStatBuf status;

  if (fd < 0)
    return NULL;
  self = g_new0 (EvbusSpoolPages, 1);
  self->fd = fd;
  self->wal_fd = g_open (wal, O_RDONLY | O_CLOEXEC, 0);
  self->in_wal = g_hash_table_new_full (NULL, NULL, NULL, g_free);
  self->overflow = g_hash_table_new (NULL, NULL);
  self->row = g_byte_array_new ();
  if (fstat (fd, &status) == 0)
    self->n_pages = (guint32) MIN ((status.st_size + PAGE - 1) / PAGE, G_MAXUINT32 / 2);
  read_wal (self);
  return self;
}

void
evbus_spool_pages_free (EvbusSpoolPages *self)
{
  close (self->fd);
  if (self->wal_fd >= 0)
    close (self->wal_fd);
  g_hash_table_unref (self->in_wal);
  g_hash_table_unref (self->overflow);
  g_byte_array_unref (self->row);
  g_free (self);
}

/* What is not there is zero. */
static void
read_page (EvbusSpoolPages *self,
           guint32          number,
           guint8          *page)
{
  const gint64 *in_wal = g_hash_table_lookup (self->in_wal, GUINT_TO_POINTER (number));
  gssize n;

  if (in_wal != NULL)
    n = pread (self->wal_fd, page, PAGE, *in_wal);
  else
    n = pread (self->fd, page, PAGE, (goffset) (number - 1) * PAGE);
  n = MAX (n, 0);
  memset (page + n, 0, PAGE - n);
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
  return data[0] == 'E' && data[1] == 'V' && (data[2] == 'R' || data[2] == 'S') && data[3] == '1';
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

void
evbus_spool_pages_walk (EvbusSpoolPages      *self,
                        EvbusSpoolPagesFound  found,
                        EvbusSpoolPagesStep   step,
                        gpointer              user_data)
{
  g_autoptr(GArray) odd = g_array_new (FALSE, FALSE, sizeof (guint32));

  for (guint32 number = 1; number <= self->n_pages; number++)
    {
      if (number % STEP_PAGES == 0 && !step (number, self->n_pages, user_data))
        return;
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
        return;
      if (g_hash_table_contains (self->overflow, GUINT_TO_POINTER (number)))
        continue;
      read_page (self, number, self->page);
      scan_page (self, found, user_data);
    }
}
