from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class Image(_message.Message):
    __slots__ = ()
    class Snapshot(_message.Message):
        __slots__ = ("name", "protected", "quota_bytes", "used_bytes")
        NAME_FIELD_NUMBER: _ClassVar[int]
        PROTECTED_FIELD_NUMBER: _ClassVar[int]
        QUOTA_BYTES_FIELD_NUMBER: _ClassVar[int]
        USED_BYTES_FIELD_NUMBER: _ClassVar[int]
        name: str
        protected: bool
        quota_bytes: int
        used_bytes: int
        def __init__(self, name: _Optional[str] = ..., protected: _Optional[bool] = ..., quota_bytes: _Optional[int] = ..., used_bytes: _Optional[int] = ...) -> None: ...
    def __init__(self) -> None: ...

class CreateImageSnapshotRequest(_message.Message):
    __slots__ = ("scope", "pool_name", "image_name", "snapshot_name")
    SCOPE_FIELD_NUMBER: _ClassVar[int]
    POOL_NAME_FIELD_NUMBER: _ClassVar[int]
    IMAGE_NAME_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_NAME_FIELD_NUMBER: _ClassVar[int]
    scope: str
    pool_name: str
    image_name: str
    snapshot_name: str
    def __init__(self, scope: _Optional[str] = ..., pool_name: _Optional[str] = ..., image_name: _Optional[str] = ..., snapshot_name: _Optional[str] = ...) -> None: ...
