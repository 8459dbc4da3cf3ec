# SPDX-License-Identifier: LGPL-2.1-or-later
"""What goes out as a CloudEvent is one."""

import base64
import json
import pathlib

import jsonschema
import pytest

PARENT = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01'


@pytest.fixture
def validator():
    schema = json.loads((pathlib.Path(__file__).parent / 'cloudevent.schema.json').read_text())
    jsonschema.Draft7Validator.check_schema(schema)
    return jsonschema.Draft7Validator(schema)


def as_json(event, mode):
    """What was received, as an event in the JSON format; and the content type of its data."""
    if mode == 'structured':
        assert event.content_type == 'application/cloudevents+json; charset=utf-8'
        return json.loads(event.body)
    return {**event.headers, 'datacontenttype': event.content_type,
            'data_base64': base64.b64encode(event.body).decode()}


def data_of(event):
    return base64.b64decode(event['data_base64']) if 'data_base64' in event else event['data']


@pytest.mark.parametrize('mode', ['binary', 'structured'])
def test_cloudevents(trial, adaptor, validator, mode):
    if mode not in adaptor.cloudevents:
        assert mode == 'binary', 'every provider has the structured mode'
        return
    trial.start({**adaptor.options(trial.destination), 'cloudevents': mode, 'cloudevents_source': '/shop'})
    trial.put(1)
    trial.put_bytes(b'\0\xff', traceparent=PARENT, subject='42', source='/other')
    trial.wait_delivered()
    events = [as_json(event, mode) for event in trial.received()]
    for event, (event_id, data) in zip(events, trial.sent, strict=True):
        validator.validate(event)
        assert (event['id'], event['type'], event['specversion']) == (event_id, 'order.created', '1.0')
        received = data_of(event)
        assert received == data or received == json.loads(data)
    assert events[0]['source'] == '/shop' and events[0]['datacontenttype'] == 'application/json'
    assert (events[1]['source'], events[1]['traceparent'], events[1]['subject']) == ('/other', PARENT, '42')
    assert events[1]['datacontenttype'] == 'application/octet-stream'


def test_the_id_and_the_trace_go_along_without(trial, adaptor):
    trial.start()
    event_id = trial.put_bytes(b'x', 'text/plain', traceparent=PARENT)
    trial.wait_delivered()
    (event,) = trial.received()
    assert event.body == b'x'
    if adaptor.carries_id:
        assert event.id == event_id
        assert event.headers['traceparent'] == PARENT
        assert event.content_type == 'text/plain'
