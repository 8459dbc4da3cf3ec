# SPDX-License-Identifier: LGPL-2.1-or-later
"""What HTTP's answers mean, what is told of them, and what is not."""

import email.utils
import threading

import pytest

from fake_http import page
from http_trial import fake, letters, start_routes  # noqa: F401
from trial import wait_outcomes

STATUSES = {
    200: 'delivered', 201: 'delivered', 204: 'delivered', 207: 'delivered', 299: 'delivered',
    300: 'broken', 304: 'broken', 307: 'broken',
    400: 'dead', 401: 'broken', 402: 'broken', 403: 'broken', 404: 'broken', 405: 'broken', 406: 'dead', 407: 'broken',
    408: 'retrying', 409: 'retrying', 410: 'broken', 411: 'broken', 412: 'dead', 413: 'dead', 414: 'broken', 415: 'dead',
    418: 'dead', 421: 'retrying', 422: 'dead', 423: 'retrying', 424: 'retrying', 425: 'retrying', 426: 'broken',
    429: 'retrying', 431: 'dead', 451: 'broken', 499: 'dead',
    500: 'retrying', 501: 'retrying', 502: 'retrying', 503: 'retrying', 504: 'retrying', 507: 'retrying', 599: 'retrying',
    999: 'retrying',
}


def answer_by_path(request):
    """/STATUS"""
    status = int(request.path.split('/')[1])
    return page(status, f'because of {status}')


def test_every_status_has_its_outcome(fake, evbusd, client):
    server = fake(answer_by_path)
    start_routes(evbusd, client, [{'url': f'{server.url}/{status}'} for status in STATUSES])
    routes = wait_outcomes(client, STATUSES.values())
    for route, (status, outcome) in zip(routes, STATUSES.items(), strict=True):
        if outcome in ('broken', 'retrying'):
            assert f'{server.url}: {status}: ' in route['reason']
            assert status == 304 or f'because of {status}' in route['reason']


def test_an_address_or_a_type_of_the_event(fake, evbusd, client):
    server = fake(answer_by_path)
    of_url = 300, 302, 304, 308, 403, 404, 405, 410, 414, 451
    cases = {status: 'dead' if status in of_url else 'broken' for status in (*of_url, 401, 402, 407, 411, 426)}
    routes = [{'url': f'{server.url}/{status}/{{routing_key}}'} for status in cases]
    routes += [{'url': f'{server.url}/415', 'cloudevents': 'structured'}, {'url': f'{server.url}/415', 'batch': 'json_lines'}]
    start_routes(evbusd, client, routes)
    expected = [*cases.values(), 'broken', 'broken']
    wait_outcomes(client, expected)


def test_addresses_that_nginx_refuses(evbusd, client, adaptor):
    """Those of the profile pause the route, and so does a wrong password; those of an event end the event."""
    base = f'http://127.0.0.1:{adaptor.port}'
    cases = {'forbidden': 403, 'moved': 301, 'gone': 410, 'files': 404}
    urls = [f'{base}/{place}/{end}' for place in cases for end in ('x', '{routing_key}')]
    routes = [{**adaptor.options(''), 'url': url} for url in urls]
    routes.append({**adaptor.options('', password='wrong'), 'url': f'{base}/{{routing_key}}'})
    start_routes(evbusd, client, routes)
    told = wait_outcomes(client, [*['broken', 'dead'] * len(cases), 'broken'])
    for route, status in zip(told[::2], (*cases.values(), 401), strict=True):
        assert route['reason'].startswith(f'{base}: {status}: ')


def test_responses_of_the_profile(fake, evbusd, client):
    server = fake(answer_by_path)
    responses = {409: 'delivered', '4xx': 'broken', 404: 'retry', 500: 'poison', '2xx': 'retry', '201': 'delivered',
                 '302': 'delivered'}
    expected = {409: 'delivered', 413: 'broken', 404: 'retrying', 500: 'dead', 503: 'retrying', 200: 'retrying', 201: 'delivered',
                302: 'delivered'}
    routes = [{'url': f'{server.url}/{status}', 'responses': responses} for status in expected]
    # A server that says so of a token that it does not know.
    routes.append({'url': f'{server.url}/403/{{routing_key}}', 'responses': {403: 'broken'}})
    start_routes(evbusd, client, routes)
    wait_outcomes(client, [*expected.values(), 'broken'])


@pytest.mark.parametrize('form', ['seconds', 'date'])
def test_retry_after(trial, fake, form):
    after = []

    def answer(request):
        if after:
            return page(204)
        after.append(int(request.time) + 3 if form == 'date' else request.time + 2)
        return page(503, Retry_After=email.utils.formatdate(after[0], usegmt=True) if form == 'date' else 2)

    server = fake(answer)
    trial.start({'url': server.url})
    trial.put(5)
    trial.wait_delivered()
    first, second, *_ = server.requests
    assert first.headers['idempotency-key'] == second.headers['idempotency-key'] == trial.sent[0][0]
    # Two clocks are at work, and one of them may be adjusted.
    assert second.time >= after[0] - 0.05
    assert [request.headers['evbus-id'] for request in server.requests[1:]] == [event_id for event_id, _ in trial.sent]


def test_a_redirect_is_not_followed(trial, fake):
    elsewhere = fake()
    server = fake(lambda request: page(302, Location=f'http://me:hunter2@localhost:{elsewhere.port}/token?secret'))
    trial.start({'url': server.url + '/x'})
    trial.put(1)
    reason = trial.wait_state('broken')
    assert reason.endswith("302: a redirect to http://localhost, which is not followed; correct 'url'")
    assert 'hunter2' not in reason and 'secret' not in reason
    assert elsewhere.requests == []


def test_what_is_quoted_of_an_answer(evbusd, client, fake, adaptor):
    texts = {
        '\n\n  first\tline  \nsecond': '500: first line: it is',
        '<html>\n<head><title>503 Down</title></head>': '500: 503 Down: it is',
        'x' * 100000: '500: ' + 'x' * 200 + ': it is',
        'ü' * 1000: '500: ' + 'ü' * 100 + ': it is',
        '': '500: it is',
        'you sent t0ken-of-mine': '500: (a text that repeats a secret): it is',
    }
    servers = [fake(lambda request, text=text: page(500, text)) for text in texts]
    token = adaptor.secret('t0ken-of-mine')
    start_routes(evbusd, client, [{'url': server.url, 'authorization': {'bearer': token}} for server in servers])
    routes = wait_outcomes(client, ['retrying'] * len(texts))
    for route, text in zip(routes, texts.values(), strict=True):
        assert text in route['reason']


def test_an_answer_without_end(trial, fake):
    """Of which no more is read than is needed, and whose status counts."""
    server = fake(lambda request: page(200, 'x' * 2_000_000, Content_Length=10 ** 12))
    trial.start({'url': server.url})
    trial.put(2)
    trial.wait_delivered()
    assert len(server.requests) == 2


@pytest.mark.parametrize('how', ['length', 'chunks', 'stall'])
def test_an_answer_that_is_cut(fake, evbusd, client, how):
    """The status was said, and counts."""
    headers = {'Transfer-Encoding': 'chunked'} if how == 'chunks' else {'Content-Length': 1000}
    release = threading.Event()
    if how != 'stall':
        release.set()

    def answer(request):
        status = int(request.path[1:])
        request.cut = release
        return status, headers, b'10\r\nbegun' if how == 'chunks' else b'begun'

    server = fake(answer)
    wanted = {200: 'delivered', 413: 'dead', 404: 'broken', 503: 'retrying'}
    try:
        start_routes(evbusd, client, [{'url': f'{server.url}/{status}', 'timeout': '1s'} for status in wanted])
        wait_outcomes(client, wanted.values())
        assert [request.path for request in server.requests].count('/200') == 1
    finally:
        release.set()


def test_a_url_that_is_a_secret(trial, adaptor, fake):
    """By reference; and no part of it is told, when the server repeats it."""
    server = fake(lambda request: page(404, f'Cannot POST {request.path}'))
    url = server.url + '/hooks/T0SECRETPLACE/aB3%2Fsecretkey/{routing_key}?sig=s1gn&v=2'
    trial.start({'url': adaptor.secret(url)})
    trial.put_bytes(b'x')
    reason = trial.wait_ledger(accepted=1, dead=1) and letters(trial, 1)[0]
    assert f"{server.url}: 404: Cannot POST /hooks/…/…/order.created?sig=…&v=2: correct 'url'" == reason
    assert server.requests[0].path == '/hooks/T0SECRETPLACE/aB3%2Fsecretkey/order.created?sig=s1gn&v=2'
    assert 'SECRETPLACE' not in trial.daemon.log() and 's1gn' not in trial.daemon.log()


def test_a_secret_url_that_cannot_be_one(trial, adaptor):
    trial.start({'url': adaptor.secret('http://127.0.0.1/{s3cret}')})
    reason = trial.wait_state('broken')
    assert 'braces of which nothing can be made' in reason and 's3cret' not in reason


def test_a_url_in_the_file_is_no_mistake(trial, fake):
    trial.start({'url': fake().url})
    trial.put(1)
    trial.wait_delivered()
    assert 'stands in the file' not in trial.daemon.log()
