import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.errors import RawError
from chalicelib.lake import csv_rows
from chalicelib.lake import lines as lines_module
from chalicelib.lake.lines import CsvCutter, LineCutter, Piece, WholeCutter, newlines

MANY = 10**9


def blocks(data: bytes, size: int):
    return [data[i : i + size] for i in range(0, len(data), size)]


def cut(cutter, data: bytes, size: int = MANY) -> tuple[Piece, ...]:
    for block in blocks(data, size):
        cutter.feed(block)
    return cutter.finish()


def lines_before(data: bytes, position: int) -> int:
    return data[:position].count(b"\n")


sizes = st.integers(1, 60)


@given(st.lists(st.text(alphabet="ab\r", max_size=9)), st.booleans(), st.booleans(), sizes, sizes, st.integers(1, 12))
def test_pieces_cover_every_line_once_and_know_their_lines(lines, bom, unterminated, chunk, block, longest):
    text = "\n".join(lines) + ("" if unterminated else "\n")
    data = (b"\xef\xbb\xbf" if bom else b"") + text.encode()
    pieces = cut(LineCutter("f", chunk, longest), data, max(block, 3))
    assert b"".join(data[p.start : p.end] for p in pieces) == text.encode()
    for piece in pieces:
        body = data[piece.start : piece.end]
        assert piece.first_line == 1 + lines_before(data, piece.start)
        assert piece.lines == len(body.removesuffix(b"\n").split(b"\n"))
        assert data[piece.end - 1 : piece.end] == b"\n" or piece.end == len(data)
        too_long = [line for line in body.split(b"\n") if len(line) > longest + 1]
        assert not too_long or piece.lines == 1


def test_pieces_are_as_long_as_asked_for():
    data = b"0123456789abcde\n" * 1000
    pieces = cut(LineCutter("f", 1600, MANY), data, 777)
    assert [p.end - p.start for p in pieces] == [1600] * 10
    assert [p.lines for p in pieces] == [100] * 10


def test_narrow_rows_are_cut_by_their_number_long_before_their_bytes():
    """16 MB hold two million rows of two columns, which no function's memory does."""
    for cutter, head in ((LineCutter("f", MANY, MANY, chunk_rows=100), b""), (CsvCutter, b"a,b\n")):
        cutter = cutter("f", MANY, MANY, chunk_rows=100) if head else cutter
        assert [p.lines for p in cut(cutter, head + b"1,2\n" * 1050, 777)] == [100] * 10 + [50]


@given(st.lists(st.integers(0, 3), min_size=1), st.integers(1, 7), sizes, sizes)
def test_csv_cut_by_lines_stays_cut_between_records(heights, rows, chunk, block):
    """A record of several lines is never cut; a piece ends with the first record that reaches the number of lines."""
    records = [b'1,"%s"\n' % (b"x\n" * height) for height in heights]
    data = b"a,b\n" + b"".join(records)
    pieces = cut(CsvCutter("f", chunk, MANY, chunk_rows=rows), data, block)
    ends = {4 + len(b"".join(records[: i + 1])): record for i, record in enumerate(records)}
    assert b"".join(data[p.start : p.end] for p in pieces) == data[4:]
    for piece in pieces:
        assert piece.first_line == 1 + lines_before(data, piece.start)
        assert piece.lines - ends[piece.end].count(b"\n") < rows


def test_a_line_longer_than_a_record_may_be_is_put_alone_wherever_blocks_end():
    data = b"{}\n" * 5 + b"x" * 5000 + b"\n" + b"{}\n" * 5
    for block in (1, 100, 5000, MANY):
        assert cut(LineCutter("f", MANY, 100), data, block) == (
            Piece(0, 15, 1, 5),
            Piece(15, 5016, 6, 1),
            Piece(5016, 5031, 7, 5),
        )


values = st.text(alphabet='ab,;"\n é', max_size=6)


@given(
    st.lists(st.tuples(values, values, values)),
    st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    st.sampled_from(["\n", "\r\n"]),
    sizes,
    sizes,
)
def test_csv_is_cut_between_records_whatever_they_hold(rows, quoting, newline, chunk, block):
    text = io.StringIO()
    writer = csv.writer(text, quoting=quoting, lineterminator=newline)
    writer.writerow(["x", "y", "z"])
    writer.writerows(rows)
    data = text.getvalue().encode()
    cutter = CsvCutter("f", chunk, MANY)
    pieces = cut(cutter, data, block)
    assert (cutter.header, cutter.delimiter) == (("x", "y", "z"), ",")
    read = []
    for piece in pieces:
        parsed = csv_rows.parse(data[piece.start : piece.end], cutter.header, ",")
        assert not parsed.bad
        assert piece.first_line == 1 + lines_before(data, piece.start)
        read += [tuple(row) for row in parsed.records]
    assert read == rows
    assert b"".join(data[p.start : p.end] for p in pieces) == data[data.index(newline.encode()) + len(newline) :]


@given(st.text(alphabet='a,"\n', max_size=80), sizes, sizes)
def test_csv_that_breaks_the_rules_reads_the_same_however_it_is_cut(body, chunk, block):
    """Quotes where RFC 4180 has none: the cutter and the reader must agree where records end."""
    data = b"x,y\n" + body.encode()

    def read(chunk, block):
        cutter = CsvCutter("f", chunk, MANY)
        try:
            pieces = cut(cutter, data, block)
        except RawError:
            return None
        found = []
        for piece in pieces:
            parsed = csv_rows.parse(data[piece.start : piece.end], cutter.header, ",")
            found += [
                (piece.first_line + line, row) for line, row in zip(parsed.lines.tolist(), parsed.records, strict=True)
            ]
            found += [(piece.first_line + bad.line, bad.text) for bad in parsed.bad]
        return sorted(found, key=lambda item: item[0])

    assert read(chunk, block) == read(MANY, MANY)


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_found_in_the_header(delimiter):
    cutter = CsvCutter("f", MANY, MANY)
    cut(cutter, delimiter.join(["a", '"b,;c"', "d", "e"]).encode() + b"\n1\n")
    assert (cutter.header, cutter.delimiter) == (("a", "b,;c", "d", "e"), delimiter)


def test_a_header_may_have_a_bom_crlf_and_a_quoted_newline():
    cutter = CsvCutter("f", MANY, MANY)
    data = b'\xef\xbb\xbf"first\nname",age\r\n"x",1\r\n'
    assert cut(cutter, data, 3) == (Piece(21, len(data), 3, 1),)
    assert cutter.header == ("first\nname", "age")


@pytest.mark.parametrize(
    ("data", "message", "line", "byte"),
    [
        (b'a,b\n1,2\n3,"x\n4,5\n6,7\n', "never closes", 3, 10),
        (b'a,"b\n1,2\n', "never closes", 1, 0),
        (b"a,,c\n1,2,3\n", "no name for column 2", 1, 0),
        (b"a,b,a\n1,2,3\n", "names columns twice: a", 1, 0),
        (b"\n1,2\n", "first line is blank", 1, 0),
        (b"\xef\xbb\xbf", "first line is blank", 1, 0),
        (b"a,b\r1,2\r", "bare CR", 1, 0),
        (b"a,\xff\n1,2\n", "not UTF-8", 1, 0),
        (b"a,b\0\n1,2\n", "NUL character", 1, 0),
    ],
)
def test_csv_that_cannot_be_cut_says_where(data, message, line, byte):
    for block in (1, MANY):
        with pytest.raises(RawError, match=message) as caught:
            cut(CsvCutter("orders.csv", MANY, MANY), data, block)
        assert caught.value.where == {"file": "orders.csv", "line": line, "byte": byte}
        assert caught.value.next_step


def test_a_csv_record_that_is_too_long_stops_at_its_line_before_the_end_is_read():
    data = b"a,b\n1,2\n" + b'3,"' + b"x\n" * 10_000
    for block in (50, MANY):
        with pytest.raises(RawError, match=r"longer than 1000 bytes") as caught:
            cut(CsvCutter("f", MANY, 1000), data, block)
        assert caught.value.where["line"] == 3
        assert caught.value.where["byte"] == 8


def test_of_a_csv_without_rows_there_is_a_piece_without_lines_so_that_its_header_is_looked_at():
    for data, line in ((b"a,b", 1), (b"a,b\n", 2)):
        assert cut(CsvCutter("f", MANY, MANY), data, 1) == (Piece(len(data), len(data), line, 0),)


def test_a_document_that_is_parsed_whole_is_no_larger_than_transform_can_hold():
    cutter = WholeCutter("page")
    for _ in range(16):
        cutter.feed(b"x" * 2**20)
    with pytest.raises(RawError, match="16777216 bytes and would be parsed whole"):
        cutter.feed(b"x")


@given(st.binary(max_size=40), st.integers(1, 9))
def test_newlines_are_found_wherever_blocks_end(text, block):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lines_module, "_BLOCK_BYTES", block)
        found = newlines(text)
    assert found.dtype == "int64"
    assert found.tolist() == [place for place, byte in enumerate(text) if byte == ord("\n")]
