# SPDX-License-Identifier: LGPL-2.1-or-later
"""What goes out as a CloudEvent is one."""

import base64
import json
import pathlib

import jsonschema
import pytest

PARENT = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01'


# The examples of the JSON Event Format 1.0.2, section 3.2; 'subject' is null in the first one, which is the same as none.
OF_ALL = {'specversion': '1.0', 'type': 'com.example.someevent', 'source': '/mycontext', 'time': '2018-04-05T17:31:00Z',
          'comexampleextension1': 'value', 'comexampleothervalue': 5}
EXAMPLES = [
    {**OF_ALL, 'id': 'C234-1234-1234', 'datacontenttype': 'application/json',
     'data': {'appinfoA': 'abc', 'appinfoB': 123, 'appinfoC': True}},
    {**OF_ALL, 'id': 'B234-1234-1234', 'datacontenttype': 'application/vnd.apache.thrift.binary',
     'data_base64': base64.b64encode(bytes(range(256))).decode()},
    {**OF_ALL, 'id': 'A234-1234-1234', 'datacontenttype': 'application/xml', 'data': '<much wow="xml"/>'},
]
GIVEN = ('specversion', 'type', 'id', 'time', 'datacontenttype', 'data', 'data_base64')


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


def bytes_of(event):
    data = data_of(event)
    return data if isinstance(data, bytes) else (data if isinstance(data, str) else json.dumps(data)).encode()


@pytest.mark.parametrize('mode', ['binary', 'structured'])
def test_the_examples_of_the_specification(trial, adaptor, validator, mode):
    """But for the time, which is that of the put; and an attribute is a text, whatever it was."""
    if mode not in adaptor.cloudevents:
        return
    trial.start({**adaptor.options(trial.destination), 'cloudevents': mode})
    for example in EXAMPLES:
        validator.validate(example)
        attributes = {name: str(value) for name, value in example.items() if name not in GIVEN}
        trial.put_bytes(bytes_of(example), example['datacontenttype'], example['type'], example['id'], **attributes)
    trial.wait_delivered()
    for example, received in zip(EXAMPLES, trial.received(), strict=True):
        event = as_json(received, mode)
        validator.validate(event)
        ours, theirs = bytes_of(event), bytes_of(example)
        assert ours == theirs or json.loads(ours) == json.loads(theirs)
        for name in set(example) - {'time', 'data', 'data_base64'}:
            assert event[name] == str(example[name])


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
