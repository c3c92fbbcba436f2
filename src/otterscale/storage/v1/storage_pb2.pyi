import datetime

from google.protobuf import empty_pb2 as _empty_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class PoolType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    UNSPECIFIED: _ClassVar[PoolType]
    ERASURE: _ClassVar[PoolType]
    REPLICATED: _ClassVar[PoolType]
UNSPECIFIED: PoolType
ERASURE: PoolType
REPLICATED: PoolType

class Pool(_message.Message):
    __slots__ = ("id", "name", "updating", "pool_type", "ec_overwrites", "data_chunks", "coding_chunks", "replicated_size", "quota_bytes", "quota_objects", "used_bytes", "used_objects", "max_bytes", "placement_group_count", "placement_group_state", "created_at", "applications")
    class PlacementGroupStateEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    UPDATING_FIELD_NUMBER: _ClassVar[int]
    POOL_TYPE_FIELD_NUMBER: _ClassVar[int]
    EC_OVERWRITES_FIELD_NUMBER: _ClassVar[int]
    DATA_CHUNKS_FIELD_NUMBER: _ClassVar[int]
    CODING_CHUNKS_FIELD_NUMBER: _ClassVar[int]
    REPLICATED_SIZE_FIELD_NUMBER: _ClassVar[int]
    QUOTA_BYTES_FIELD_NUMBER: _ClassVar[int]
    QUOTA_OBJECTS_FIELD_NUMBER: _ClassVar[int]
    USED_BYTES_FIELD_NUMBER: _ClassVar[int]
    USED_OBJECTS_FIELD_NUMBER: _ClassVar[int]
    MAX_BYTES_FIELD_NUMBER: _ClassVar[int]
    PLACEMENT_GROUP_COUNT_FIELD_NUMBER: _ClassVar[int]
    PLACEMENT_GROUP_STATE_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    APPLICATIONS_FIELD_NUMBER: _ClassVar[int]
    id: int
    name: str
    updating: bool
    pool_type: PoolType
    ec_overwrites: bool
    data_chunks: int
    coding_chunks: int
    replicated_size: int
    quota_bytes: int
    quota_objects: int
    used_bytes: int
    used_objects: int
    max_bytes: int
    placement_group_count: int
    placement_group_state: _containers.ScalarMap[str, int]
    created_at: _timestamp_pb2.Timestamp
    applications: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, id: _Optional[int] = ..., name: _Optional[str] = ..., updating: _Optional[bool] = ..., pool_type: _Optional[_Union[PoolType, str]] = ..., ec_overwrites: _Optional[bool] = ..., data_chunks: _Optional[int] = ..., coding_chunks: _Optional[int] = ..., replicated_size: _Optional[int] = ..., quota_bytes: _Optional[int] = ..., quota_objects: _Optional[int] = ..., used_bytes: _Optional[int] = ..., used_objects: _Optional[int] = ..., max_bytes: _Optional[int] = ..., placement_group_count: _Optional[int] = ..., placement_group_state: _Optional[_Mapping[str, int]] = ..., created_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., applications: _Optional[_Iterable[str]] = ...) -> None: ...

class Image(_message.Message):
    __slots__ = ("name", "pool_name", "object_size_bytes", "stripe_unit_bytes", "stripe_count", "quota_bytes", "used_bytes", "object_count", "layering", "exclusive_lock", "object_map", "fast_diff", "deep_flatten", "created_at", "snapshots")
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
    NAME_FIELD_NUMBER: _ClassVar[int]
    POOL_NAME_FIELD_NUMBER: _ClassVar[int]
    OBJECT_SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    STRIPE_UNIT_BYTES_FIELD_NUMBER: _ClassVar[int]
    STRIPE_COUNT_FIELD_NUMBER: _ClassVar[int]
    QUOTA_BYTES_FIELD_NUMBER: _ClassVar[int]
    USED_BYTES_FIELD_NUMBER: _ClassVar[int]
    OBJECT_COUNT_FIELD_NUMBER: _ClassVar[int]
    LAYERING_FIELD_NUMBER: _ClassVar[int]
    EXCLUSIVE_LOCK_FIELD_NUMBER: _ClassVar[int]
    OBJECT_MAP_FIELD_NUMBER: _ClassVar[int]
    FAST_DIFF_FIELD_NUMBER: _ClassVar[int]
    DEEP_FLATTEN_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOTS_FIELD_NUMBER: _ClassVar[int]
    name: str
    pool_name: str
    object_size_bytes: int
    stripe_unit_bytes: int
    stripe_count: int
    quota_bytes: int
    used_bytes: int
    object_count: int
    layering: bool
    exclusive_lock: bool
    object_map: bool
    fast_diff: bool
    deep_flatten: bool
    created_at: _timestamp_pb2.Timestamp
    snapshots: _containers.RepeatedCompositeFieldContainer[Image.Snapshot]
    def __init__(self, name: _Optional[str] = ..., pool_name: _Optional[str] = ..., object_size_bytes: _Optional[int] = ..., stripe_unit_bytes: _Optional[int] = ..., stripe_count: _Optional[int] = ..., quota_bytes: _Optional[int] = ..., used_bytes: _Optional[int] = ..., object_count: _Optional[int] = ..., layering: _Optional[bool] = ..., exclusive_lock: _Optional[bool] = ..., object_map: _Optional[bool] = ..., fast_diff: _Optional[bool] = ..., deep_flatten: _Optional[bool] = ..., created_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., snapshots: _Optional[_Iterable[_Union[Image.Snapshot, _Mapping]]] = ...) -> None: ...

class ListPoolsRequest(_message.Message):
    __slots__ = ("scope", "application")
    SCOPE_FIELD_NUMBER: _ClassVar[int]
    APPLICATION_FIELD_NUMBER: _ClassVar[int]
    scope: str
    application: str
    def __init__(self, scope: _Optional[str] = ..., application: _Optional[str] = ...) -> None: ...

class ListPoolsResponse(_message.Message):
    __slots__ = ("pools",)
    POOLS_FIELD_NUMBER: _ClassVar[int]
    pools: _containers.RepeatedCompositeFieldContainer[Pool]
    def __init__(self, pools: _Optional[_Iterable[_Union[Pool, _Mapping]]] = ...) -> None: ...

class ListImagesRequest(_message.Message):
    __slots__ = ("scope",)
    SCOPE_FIELD_NUMBER: _ClassVar[int]
    scope: str
    def __init__(self, scope: _Optional[str] = ...) -> None: ...

class ListImagesResponse(_message.Message):
    __slots__ = ("images",)
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    images: _containers.RepeatedCompositeFieldContainer[Image]
    def __init__(self, images: _Optional[_Iterable[_Union[Image, _Mapping]]] = ...) -> None: ...

class CreateImageRequest(_message.Message):
    __slots__ = ("scope", "pool_name", "image_name", "object_size_bytes", "stripe_unit_bytes", "stripe_count", "quota_bytes", "layering", "exclusive_lock", "object_map", "fast_diff", "deep_flatten")
    SCOPE_FIELD_NUMBER: _ClassVar[int]
    POOL_NAME_FIELD_NUMBER: _ClassVar[int]
    IMAGE_NAME_FIELD_NUMBER: _ClassVar[int]
    OBJECT_SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    STRIPE_UNIT_BYTES_FIELD_NUMBER: _ClassVar[int]
    STRIPE_COUNT_FIELD_NUMBER: _ClassVar[int]
    QUOTA_BYTES_FIELD_NUMBER: _ClassVar[int]
    LAYERING_FIELD_NUMBER: _ClassVar[int]
    EXCLUSIVE_LOCK_FIELD_NUMBER: _ClassVar[int]
    OBJECT_MAP_FIELD_NUMBER: _ClassVar[int]
    FAST_DIFF_FIELD_NUMBER: _ClassVar[int]
    DEEP_FLATTEN_FIELD_NUMBER: _ClassVar[int]
    scope: str
    pool_name: str
    image_name: str
    object_size_bytes: int
    stripe_unit_bytes: int
    stripe_count: int
    quota_bytes: int
    layering: bool
    exclusive_lock: bool
    object_map: bool
    fast_diff: bool
    deep_flatten: bool
    def __init__(self, scope: _Optional[str] = ..., pool_name: _Optional[str] = ..., image_name: _Optional[str] = ..., object_size_bytes: _Optional[int] = ..., stripe_unit_bytes: _Optional[int] = ..., stripe_count: _Optional[int] = ..., quota_bytes: _Optional[int] = ..., layering: _Optional[bool] = ..., exclusive_lock: _Optional[bool] = ..., object_map: _Optional[bool] = ..., fast_diff: _Optional[bool] = ..., deep_flatten: _Optional[bool] = ...) -> None: ...

class UpdateImageRequest(_message.Message):
    __slots__ = ("scope", "pool_name", "image_name", "quota_bytes")
    SCOPE_FIELD_NUMBER: _ClassVar[int]
    POOL_NAME_FIELD_NUMBER: _ClassVar[int]
    IMAGE_NAME_FIELD_NUMBER: _ClassVar[int]
    QUOTA_BYTES_FIELD_NUMBER: _ClassVar[int]
    scope: str
    pool_name: str
    image_name: str
    quota_bytes: int
    def __init__(self, scope: _Optional[str] = ..., pool_name: _Optional[str] = ..., image_name: _Optional[str] = ..., quota_bytes: _Optional[int] = ...) -> None: ...

class DeleteImageRequest(_message.Message):
    __slots__ = ("scope", "pool_name", "image_name")
    SCOPE_FIELD_NUMBER: _ClassVar[int]
    POOL_NAME_FIELD_NUMBER: _ClassVar[int]
    IMAGE_NAME_FIELD_NUMBER: _ClassVar[int]
    scope: str
    pool_name: str
    image_name: str
    def __init__(self, scope: _Optional[str] = ..., pool_name: _Optional[str] = ..., image_name: _Optional[str] = ...) -> None: ...

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

class DeleteImageSnapshotRequest(_message.Message):
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

class RollbackImageSnapshotRequest(_message.Message):
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

class ProtectImageSnapshotRequest(_message.Message):
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

class UnprotectImageSnapshotRequest(_message.Message):
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
